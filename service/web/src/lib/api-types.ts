/** Made by `npm run types` from the service's OpenAPI description. Never edited by hand. */

export interface paths {
    "/api/v1/dashboard": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Dashboard
         * @description One page of runs, open critical events first, then warnings, then those seen last.
         *
         *     `q` is looked for in names of runs, owners, groups, projects and in tags. `project`, `owner`, `group` and `tag` are
         *     taken as they are; the last three, where they are empty, choose the runs that have none.
         */
        get: operations["read_dashboard_api_v1_dashboard_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/dashboard/facets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Facets
         * @description What can be filtered by, and how many runs each choice would show beside the other filters.
         */
        get: operations["read_facets_api_v1_dashboard_facets_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/dashboard/groups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Groups
         * @description The runs asked for in groups, with how many of each are in which condition; each opens as a filtered page.
         */
        get: operations["read_groups_api_v1_dashboard_groups_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Events
         * @description One page of events of all runs, open ones first, then those that opened last.
         *
         *     `q` is looked for in the names of their runs.
         */
        get: operations["read_events_api_v1_events_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow
         * @description What happens: `run` (a summary), `event`, `frames` (of the runs asked for), `resync` (read again).
         */
        get: operations["follow_api_v1_live_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make Login Link
         * @description Make a one-time link. For the read token in the header: a cookie alone may not hand out the page.
         */
        post: operations["make_login_link_api_v1_login_codes_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/projects/{project}/detection": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Detection
         * @description How a project is judged.
         */
        get: operations["read_detection_api_v1_projects__project__detection_get"];
        /**
         * Choose Detection
         * @description Choose how a project is judged, from the next frames of its runs on; what happened before stays as it was told.
         *
         *     Whoever may read may choose: there is no other token for people yet, and a training job's must not.
         */
        put: operations["choose_detection_api_v1_projects__project__detection_put"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run
         * @description Everything about one run but its frames.
         */
        get: operations["read_run_api_v1_runs__run_id__get"];
        /**
         * Declare Run
         * @description Make a run, or replace what its client says about it.
         */
        put: operations["declare_run_api_v1_runs__run_id__put"];
        post?: never;
        /**
         * Delete Run
         * @description Delete a run and all that was stored about it. It is gone at once; its space is given back after that.
         *
         *     Whoever may read may delete: there is no other token for people yet, and a training job's must not.
         */
        delete: operations["delete_run_api_v1_runs__run_id__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/advice": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Advice
         * @description Which clip threshold suits a run, why, and what other ones would have clipped.
         */
        get: operations["read_run_advice_api_v1_runs__run_id__advice_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/attempts/{attempt_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Declare Attempt
         * @description Make an attempt, or take its heartbeat; tells what the client has not seen yet.
         */
        put: operations["declare_attempt_api_v1_runs__run_id__attempts__attempt_id__put"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/chart.png": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Picture
         * @description The newest steps as a picture: norm and loss, what was noticed, and in words what happened.
         */
        get: operations["read_picture_api_v1_runs__run_id__chart_png_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/checkpoints": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Checkpoints
         * @description The newest thousand checkpoints of a run, with what is thought of them now.
         */
        get: operations["read_checkpoints_api_v1_runs__run_id__checkpoints_get"];
        put?: never;
        /**
         * Declare Checkpoints
         * @description Keep where checkpoints lie, and answer which one must not be deleted.
         */
        post: operations["declare_checkpoints_api_v1_runs__run_id__checkpoints_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/chunks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Receive Chunk
         * @description Take one chunk of docs/wire.md; the answer means that it is on disk.
         */
        post: operations["receive_chunk_api_v1_runs__run_id__chunks_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Events
         * @description The newest events of one run.
         */
        get: operations["read_run_events_api_v1_runs__run_id__events_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/events/{event_id}/acknowledgement": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Acknowledge Event
         * @description Say that one has taken note of an event, in place of what was said before; gives the event.
         *
         *     Whoever may read may say so: there is no other token for people yet, and a training job's must not.
         */
        put: operations["acknowledge_event_api_v1_runs__run_id__events__event_id__acknowledgement_put"];
        post?: never;
        /**
         * Take Back Acknowledgement
         * @description Let an event be as if nobody had taken note of it; gives the event.
         */
        delete: operations["take_back_acknowledgement_api_v1_runs__run_id__events__event_id__acknowledgement_delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/events/{event_id}/evidence": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Evidence
         * @description The frames around the opening of an event, which are kept for as long as the run is.
         */
        get: operations["read_evidence_api_v1_runs__run_id__events__event_id__evidence_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export Run
         * @description Every frame as it was measured, in the pieces of docs/wire.md. The standard metrics, unless others are named.
         */
        get: operations["export_run_api_v1_runs__run_id__export_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/frames": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Receive Frames
         * @description Take frames as JSON; run, attempt and layout are made when they do not exist.
         */
        post: operations["receive_frames_api_v1_runs__run_id__frames_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/layers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Layers
         * @description The layers of the newest frame.
         */
        get: operations["read_run_layers_api_v1_runs__run_id__layers_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/layers/heatmap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Heatmap
         * @description The norm of every layer over steps, in buckets that keep every spike. In bytes for who accepts them.
         */
        get: operations["read_run_heatmap_api_v1_runs__run_id__layers_heatmap_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/layers/series": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Layer Series
         * @description The norm of one layer over steps as ``norm``, beside the ``global_norm`` of the same buckets.
         */
        get: operations["read_run_layer_series_api_v1_runs__run_id__layers_series_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/layouts/{layout_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Declare Layout
         * @description Keep a layout under the hash of its content.
         */
        put: operations["declare_layout_api_v1_runs__run_id__layouts__layout_id__put"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Replay Run
         * @description Judge a run's stored frames again as the body says, which is that of a project's `detection`: what would have
         *     paged?
         *
         *     Nothing is stored. One at a time, and not at the cost of those who send; a long run is refused, and has a command.
         */
        post: operations["replay_run_api_v1_runs__run_id__replay_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/scalars": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Scalars
         * @description The names of the scalars that were logged.
         */
        get: operations["read_run_scalars_api_v1_runs__run_id__scalars_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/series": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Run Series
         * @description Metrics over steps, in buckets that keep every spike. Both ends of the range are included.
         */
        get: operations["read_run_series_api_v1_runs__run_id__series_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Health
         * @description The process answers.
         */
        get: operations["read_health_healthz_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Readiness
         * @description The database answers and is at this version's schema, and the writer gets through to it.
         *
         *     Unless the writer has just written, that is tried here: a full disk is told before a client finds it, and that there
         *     is room again without one.
         */
        get: operations["read_readiness_readyz_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * AcknowledgementRead
         * @description Who has taken note of an event, when, and what they wrote.
         */
        AcknowledgementRead: {
            /**
             * At
             * Format: date-time
             */
            at: string;
            /** By */
            by: string;
            /**
             * Note
             * @description may be empty
             */
            note: string;
        };
        /**
         * AdviceRead
         * @description Which threshold suits a run; where attempts overlap, the newest counts.
         */
        AdviceRead: {
            /**
             * Already Clipped
             * @description frames that were clipped before they were measured
             */
            already_clipped: number;
            /**
             * Damaged
             * @description frames that the disk has spoiled
             */
            damaged: number;
            /**
             * Frames
             * @description frames with a finite norm that was measured before any clipping
             */
            frames: number;
            /** Healthy Frames */
            healthy_frames: number;
            histogram: components["schemas"]["HistogramRead"];
            /** Monitor */
            monitor: string;
            newest: components["schemas"]["NewestRead"];
            /** Non Finite */
            non_finite: number;
            /** Rank */
            rank: number;
            /** Reason */
            reason: string;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * Suggested Max Norm
             * @description null where the norms do not carry one
             */
            suggested_max_norm: number | null;
            /**
             * Thresholds
             * @description those asked for, the present and the suggested one, ascending
             */
            thresholds: components["schemas"]["ThresholdRead"][];
        };
        /**
         * AttemptRead
         * @description One lifetime of one process of a run.
         */
        AttemptRead: {
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /** Exception */
            exception: string | null;
            /**
             * Heartbeat At
             * Format: date-time
             */
            heartbeat_at: string;
            /** Host */
            host: string;
            /** Last Step */
            last_step: number | null;
            /**
             * Launch
             * Format: uuid
             * @description attempts that were started together share it
             */
            launch: string;
            /**
             * Live
             * @description false: sent late, so that nobody was paged
             */
            live: boolean;
            /**
             * Lost
             * @description frames that will never come
             */
            lost: number;
            /** Monitors */
            monitors: {
                [key: string]: components["schemas"]["MonitorRead"];
            };
            /** Overhead */
            overhead: number | null;
            /** Pid */
            pid: number;
            /** Rank */
            rank: number;
            /** Resumed From Step */
            resumed_from_step: number | null;
            /**
             * Started At
             * Format: date-time
             */
            started_at: string;
            /** State */
            state: string;
            /**
             * Stored
             * @description frames that are on the service's disk
             */
            stored: number;
            /** World Size */
            world_size: number;
        };
        /**
         * AttemptStart
         * @description From which step on an attempt is shown.
         */
        AttemptStart: {
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /** First Step */
            first_step: number;
            /**
             * Last Step
             * @description of its newest frame, which a newer attempt may have replaced
             */
            last_step: number;
        };
        /**
         * CheckpointList
         * @description Checkpoints, the newest first.
         */
        CheckpointList: {
            /** Checkpoints */
            checkpoints: components["schemas"]["CheckpointRead"][];
        };
        /**
         * CheckpointPlace
         * @description Where a checkpoint lies, and the step that a resume from it begins with.
         */
        CheckpointPlace: {
            /** Path */
            path: string;
            /** Step */
            step: number;
        };
        /**
         * CheckpointRead
         * @description One checkpoint, as it is judged now.
         */
        CheckpointRead: {
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /**
             * Clean
             * @description whether a resume from it is free of what broke
             */
            clean: boolean;
            /** Path */
            path: string;
            /**
             * Reported Clean
             * @description what the client had seen; null: nothing yet
             */
            reported_clean: boolean | null;
            /**
             * Saved At
             * Format: date-time
             */
            saved_at: string;
            /** Step */
            step: number;
            /** Steps */
            steps: {
                [key: string]: number;
            };
        };
        /**
         * CheckpointsTaken
         * @description The answer to declared checkpoints: the one that must not be deleted.
         */
        CheckpointsTaken: {
            newest_clean: components["schemas"]["CheckpointPlace"] | null;
        };
        /**
         * Choice
         * @description One word that a filter can ask for.
         */
        Choice: {
            /** Runs */
            runs: number;
            /**
             * Value
             * @description "" for runs that have none
             */
            value: string;
        };
        /**
         * DashboardRead
         * @description One page of runs, the urgent ones first, and the newest events.
         */
        DashboardRead: {
            /**
             * Events
             * @description the newest 20
             */
            events: components["schemas"]["NamedEvent"][];
            /**
             * Next Cursor
             * @description give it back as `cursor` for the next page
             */
            next_cursor: string | null;
            /**
             * Now
             * Format: date-time
             * @description the service's clock
             */
            now: string;
            /** Runs */
            runs: components["schemas"]["RunSummary"][];
            /** @description of the runs asked for, in whatever state and health */
            totals: components["schemas"]["HealthTotals"];
            /**
             * Viewer
             * @description who asks; as `owner` it chooses the caller's own runs
             */
            viewer: string;
        };
        /**
         * DetectionRead
         * @description How a project is judged.
         */
        DetectionRead: {
            /**
             * Ignore
             * @description globs; layers whose own or module's name matches one are left out
             */
            ignore: string[];
            /**
             * Off
             * @description kinds that are neither recorded nor paged
             */
            off: ("non_finite" | "explosion" | "vanishing" | "clip_saturation" | "instability")[];
            /** Project */
            project: string;
            /**
             * Sensitivity
             * @enum {string}
             */
            sensitivity: "calm" | "normal" | "keen";
        };
        /**
         * ErrorRead
         * @description Every refusal; some say more, as ``next`` of an out-of-order chunk.
         */
        ErrorRead: {
            /**
             * Detail
             * @description a sentence that names the field and the reason
             */
            detail: string;
            /**
             * Error
             * @description the kind, for programs
             */
            error: string;
        } & {
            [key: string]: unknown;
        };
        /**
         * EventForPeople
         * @description An event with what a person said to it, which is no business of a training job.
         */
        EventForPeople: {
            acknowledgement: components["schemas"]["AcknowledgementRead"] | null;
            /**
             * Action
             * @description what to do about it, if the guess is right
             */
            action: string | null;
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /**
             * Batch Id
             * @description what the client called the batch of the first bad step
             */
            batch_id: string | null;
            /**
             * Cause
             * @description a guess
             */
            cause: string | null;
            /** Detector Version */
            detector_version: number;
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /**
             * First Layer
             * @description the layer that left its usual first, or was not finite first
             */
            first_layer: string | null;
            /**
             * Kind
             * @enum {string}
             */
            kind: "explosion" | "vanishing" | "non_finite" | "clip_saturation" | "instability" | "two_processes";
            /** Last Healthy Step */
            last_healthy_step: number | null;
            /** Layers */
            layers: string[];
            /** Message */
            message: string;
            /** Monitor */
            monitor: string;
            /**
             * Opened At
             * Format: date-time
             */
            opened_at: string;
            /** Peak */
            peak: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Peak Step */
            peak_step: number | null;
            /** Rank */
            rank: number;
            /** Resolved At */
            resolved_at: string | null;
            /** @description the newest checkpoint that was clean when it opened, and holds no suspect step */
            resume_from: components["schemas"]["CheckpointPlace"] | null;
            /** Revision */
            revision: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /**
             * Shares
             * @description of each of `layers`: its module's share of the squared norm, at the peak where there is one
             */
            shares: number[] | null;
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
            /** Times Usual */
            times_usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Updated At
             * Format: date-time
             */
            updated_at: string;
            /** Usual */
            usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Weights Finite
             * @description null: not measured since a gradient may have spoiled them
             */
            weights_finite: boolean | null;
        };
        /**
         * EventList
         * @description Events, newest first.
         */
        EventList: {
            /** Events */
            events: components["schemas"]["EventForPeople"][];
        };
        /**
         * EventMark
         * @description An event as far as a small picture of its run shows it.
         */
        EventMark: {
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /** Kind */
            kind: string;
            /**
             * Opened At
             * Format: date-time
             */
            opened_at: string;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
        };
        /**
         * EventRead
         * @description One trouble of one stream; ``end_step`` and ``resolved_at`` are null while it is open.
         */
        EventRead: {
            /**
             * Action
             * @description what to do about it, if the guess is right
             */
            action: string | null;
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /**
             * Batch Id
             * @description what the client called the batch of the first bad step
             */
            batch_id: string | null;
            /**
             * Cause
             * @description a guess
             */
            cause: string | null;
            /** Detector Version */
            detector_version: number;
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /**
             * First Layer
             * @description the layer that left its usual first, or was not finite first
             */
            first_layer: string | null;
            /**
             * Kind
             * @enum {string}
             */
            kind: "explosion" | "vanishing" | "non_finite" | "clip_saturation" | "instability" | "two_processes";
            /** Last Healthy Step */
            last_healthy_step: number | null;
            /** Layers */
            layers: string[];
            /** Message */
            message: string;
            /** Monitor */
            monitor: string;
            /**
             * Opened At
             * Format: date-time
             */
            opened_at: string;
            /** Peak */
            peak: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Peak Step */
            peak_step: number | null;
            /** Rank */
            rank: number;
            /** Resolved At */
            resolved_at: string | null;
            /** @description the newest checkpoint that was clean when it opened, and holds no suspect step */
            resume_from: components["schemas"]["CheckpointPlace"] | null;
            /** Revision */
            revision: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /**
             * Shares
             * @description of each of `layers`: its module's share of the squared norm, at the peak where there is one
             */
            shares: number[] | null;
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
            /** Times Usual */
            times_usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Updated At
             * Format: date-time
             */
            updated_at: string;
            /** Usual */
            usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Weights Finite
             * @description null: not measured since a gradient may have spoiled them
             */
            weights_finite: boolean | null;
        };
        /**
         * EventTotals
         * @description How many events there are of one status; ``unacknowledged`` of which nobody has taken note.
         */
        EventTotals: {
            /** Critical */
            critical: number;
            /** Info */
            info: number;
            /** Unacknowledged */
            unacknowledged: number;
            /** Warning */
            warning: number;
        };
        /**
         * EvidenceColumns
         * @description What was measured at each of the frames, in their order; null where nothing was logged.
         */
        EvidenceColumns: {
            /** Batch Id */
            batch_id: (string | null)[];
            /** Clip Coefficient */
            clip_coefficient: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Flags */
            flags: number[];
            /** Global Norm */
            global_norm: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Loss */
            loss: (number | ("NaN" | "Infinity" | "-Infinity") | null)[];
            /** Loss Scale */
            loss_scale: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Lr */
            lr: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Max Norm */
            max_norm: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Step */
            step: number[];
            /** Time */
            time: number[];
        };
        /**
         * EvidenceLayer
         * @description One of the layers that matter; a frame of another layout has NaN.
         */
        EvidenceLayer: {
            /** Name */
            name: string;
            /** Norms */
            norms: (number | ("NaN" | "Infinity" | "-Infinity"))[];
        };
        /**
         * EvidenceRead
         * @description The frames around the opening of an event: at most 200 before it, and 50 from it on.
         */
        EvidenceRead: {
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            clean_checkpoint: components["schemas"]["CheckpointPlace"] | null;
            /**
             * Clip Rate After
             * @description the same from the alarm on
             */
            clip_rate_after: number | null;
            /**
             * Clip Rate Before
             * @description share of the frames before the alarm that were clipped
             */
            clip_rate_before: number | null;
            columns: components["schemas"]["EvidenceColumns"];
            /**
             * Complete
             * @description false: frames after the opening are still to come
             */
            complete: boolean;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /** Last Healthy Step */
            last_healthy_step: number | null;
            /** Layers */
            layers: components["schemas"]["EvidenceLayer"][];
            /** Monitor */
            monitor: string;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /** Scalars */
            scalars: {
                [key: string]: (number | ("NaN" | "Infinity" | "-Infinity") | null)[];
            };
            /**
             * Start Row
             * @description the row of the frame that raised the alarm
             */
            start_row: number;
        };
        /**
         * FacetsRead
         * @description What each filter can ask for, the most frequent first, at most 200 each.
         *
         *     The runs counted are those that the other filters leave: another choice would show so many.
         */
        FacetsRead: {
            /** Group */
            group: components["schemas"]["Choice"][];
            /** Health */
            health: components["schemas"]["Choice"][];
            /** Owner */
            owner: components["schemas"]["Choice"][];
            /** Project */
            project: components["schemas"]["Choice"][];
            /** State */
            state: components["schemas"]["Choice"][];
            /** Tag */
            tag: components["schemas"]["Choice"][];
            /** Viewer */
            viewer: string;
        };
        /**
         * FramesTaken
         * @description Committed to disk: the stream's count, and the count of changes of the run's events.
         */
        FramesTaken: {
            /** Event Revision */
            event_revision: number;
            /** Next */
            next: number;
        };
        /**
         * GapRead
         * @description Frames that will never come; the steps are null where the client did not know them.
         */
        GapRead: {
            /** First Step */
            first_step: number | null;
            /** Last Step */
            last_step: number | null;
            /** N */
            n: number;
            /**
             * Reason
             * @description what the client said; `damaged`: the disk has spoiled it; `retention`: too old
             */
            reason: string;
        };
        /**
         * GroupRead
         * @description The runs that share a project, a tag, a group or an owner.
         */
        GroupRead: {
            /**
             * Last Seen At
             * Format: date-time
             */
            last_seen_at: string;
            /** Runs */
            runs: number;
            totals: components["schemas"]["HealthTotals"];
            /**
             * Value
             * @description "" for runs that have none
             */
            value: string;
        };
        /**
         * GroupsRead
         * @description Groups of the runs asked for: those that need a person first, then those heard of last.
         */
        GroupsRead: {
            /**
             * By
             * @enum {string}
             */
            by: "project" | "tag" | "group" | "owner";
            /**
             * Groups
             * @description at most 200
             */
            groups: components["schemas"]["GroupRead"][];
            /**
             * Left Out
             * @description how many more groups there are
             */
            left_out: number;
            /**
             * Now
             * Format: date-time
             */
            now: string;
        };
        /**
         * HealthTotals
         * @description How many runs there are, by health.
         */
        HealthTotals: {
            /** Critical */
            critical: number;
            /** Healthy */
            healthy: number;
            /** Not Measurable */
            not_measurable: number;
            /** Unknown */
            unknown: number;
            /** Warning */
            warning: number;
        };
        /**
         * HeartbeatAnswer
         * @description The answer to a heartbeat: what holds, and the events that the client has not seen yet.
         */
        HeartbeatAnswer: {
            /** Commands */
            commands: string[];
            /** Event Revision */
            event_revision: number;
            /** Events */
            events: components["schemas"]["EventRead"][];
            /** State */
            state: string;
        };
        /**
         * HeatmapRead
         * @description The layers of the newest layout over steps; where attempts overlap, the newest is shown.
         */
        HeatmapRead: {
            /**
             * Bucket
             * @description about how many frames a bucket holds; 1 = every frame
             */
            bucket: number;
            /**
             * Frames
             * @description frames in the range
             */
            frames: number;
            /** Gaps */
            gaps: components["schemas"]["GapRead"][];
            /**
             * Layers
             * @description the names of the rows, in their declared order
             */
            layers: string[];
            /** Monitor */
            monitor: string;
            /**
             * Non Finite
             * @description [layer, bucket, count] of norms that were not finite
             */
            non_finite: [
                number,
                number,
                number
            ][];
            /** Rank */
            rank: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * Statistic
             * @description of the finite norms of a bucket: max, mean or min
             */
            statistic: string;
            /**
             * Step
             * @description the first step of each bucket
             */
            step: number[];
            /**
             * Values
             * @description [layer][bucket], to four digits; null without a finite norm
             */
            values: (number | null)[][];
        };
        /**
         * HistogramRead
         * @description Frames by norm, in buckets that end at numbers of three significant digits; empty ones are left out.
         */
        HistogramRead: {
            /** Above */
            above: number[];
            /** Frames */
            frames: number[];
            /**
             * Healthy
             * @description of these, outside of explosions and non-finite gradients
             */
            healthy: number[];
            /**
             * Up To
             * @description null: without an end
             */
            up_to: (number | null)[];
        };
        /**
         * InboxEvent
         * @description An event with whose run it is.
         */
        InboxEvent: {
            acknowledgement: components["schemas"]["AcknowledgementRead"] | null;
            /**
             * Action
             * @description what to do about it, if the guess is right
             */
            action: string | null;
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /**
             * Batch Id
             * @description what the client called the batch of the first bad step
             */
            batch_id: string | null;
            /**
             * Cause
             * @description a guess
             */
            cause: string | null;
            /** Detector Version */
            detector_version: number;
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /**
             * First Layer
             * @description the layer that left its usual first, or was not finite first
             */
            first_layer: string | null;
            /**
             * Kind
             * @enum {string}
             */
            kind: "explosion" | "vanishing" | "non_finite" | "clip_saturation" | "instability" | "two_processes";
            /** Last Healthy Step */
            last_healthy_step: number | null;
            /** Layers */
            layers: string[];
            /** Message */
            message: string;
            /** Monitor */
            monitor: string;
            /**
             * Opened At
             * Format: date-time
             */
            opened_at: string;
            /** Owner */
            owner: string | null;
            /** Peak */
            peak: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Peak Step */
            peak_step: number | null;
            /** Project */
            project: string;
            /** Rank */
            rank: number;
            /** Resolved At */
            resolved_at: string | null;
            /** @description the newest checkpoint that was clean when it opened, and holds no suspect step */
            resume_from: components["schemas"]["CheckpointPlace"] | null;
            /** Revision */
            revision: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /** Run Name */
            run_name: string;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /**
             * Shares
             * @description of each of `layers`: its module's share of the squared norm, at the peak where there is one
             */
            shares: number[] | null;
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
            /** Times Usual */
            times_usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Updated At
             * Format: date-time
             */
            updated_at: string;
            /** Usual */
            usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Weights Finite
             * @description null: not measured since a gradient may have spoiled them
             */
            weights_finite: boolean | null;
        };
        /**
         * InboxRead
         * @description One page of events: open ones first, then the newest.
         */
        InboxRead: {
            /** Events */
            events: components["schemas"]["InboxEvent"][];
            /**
             * Next Cursor
             * @description give it back as `cursor` for the next page
             */
            next_cursor: string | null;
            /**
             * Now
             * Format: date-time
             * @description the service's clock
             */
            now: string;
            /** @description of all events of the project, run, kind and text asked for, whatever their status and severity */
            totals: components["schemas"]["InboxTotals"];
        };
        /**
         * InboxTotals
         * @description How many events there are.
         */
        InboxTotals: {
            /**
             * Needs Somebody
             * @description open critical ones of which nobody has taken note
             */
            needs_somebody: number;
            open: components["schemas"]["EventTotals"];
            resolved: components["schemas"]["EventTotals"];
        };
        /**
         * LayerRead
         * @description One layer at the newest frame.
         */
        LayerRead: {
            /** Module */
            module: string;
            /** Name */
            name: string;
            /** Norm */
            norm: number | ("NaN" | "Infinity" | "-Infinity");
            /** Numel */
            numel: number;
            /**
             * Param Norm
             * @description norm of the weights when it was last measured
             */
            param_norm: number | null;
            /** Parameter Group */
            parameter_group: number;
            /** Shape */
            shape: number[];
            /**
             * Share
             * @description of the squared global norm, in [0, 1]
             */
            share: number | null;
            /** Trainable */
            trainable: boolean;
        };
        /**
         * LayersRead
         * @description The newest frame's layers in their declared order; ``step`` is null before the first frame.
         */
        LayersRead: {
            /** Layers */
            layers: components["schemas"]["LayerRead"][];
            /** Step */
            step: number | null;
        };
        /**
         * LayoutDeclared
         * @description The answer to a declared layout.
         */
        LayoutDeclared: {
            /** Layout Id */
            layout_id: string;
        };
        /**
         * LiveFrames
         * @description Frames that were just committed; columns of equal length.
         */
        LiveFrames: {
            /** Clip Coefficient */
            clip_coefficient: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Global Norm */
            global_norm: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /**
             * Loss
             * @description null where none was logged
             */
            loss: (number | ("NaN" | "Infinity" | "-Infinity") | null)[];
            /** Lr */
            lr: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Max Norm */
            max_norm: (number | ("NaN" | "Infinity" | "-Infinity"))[];
            /** Monitor */
            monitor: string;
            /** Rank */
            rank: number;
            /** Run Id */
            run_id: string;
            /** Step */
            step: number[];
            /**
             * Time
             * @description seconds since 1970, by the client's clock
             */
            time: number[];
        };
        /**
         * LiveRead
         * @description The data of server-sent events, by the event's name.
         */
        LiveRead: {
            event: components["schemas"]["NamedEvent"];
            frames: components["schemas"]["LiveFrames"];
            /**
             * Resync
             * @description empty: something was missed, read everything again
             */
            resync: {
                [key: string]: null;
            };
            run: components["schemas"]["RunLive"];
        };
        /**
         * LoginLink
         * @description A link that opens the page once.
         */
        LoginLink: {
            /** Url */
            url: string;
        };
        /**
         * MetricRead
         * @description One metric, a value a bucket: over finite values, null where a bucket has none.
         */
        MetricRead: {
            /** Max */
            max: (number | null)[];
            /** Mean */
            mean: (number | null)[];
            /** Min */
            min: (number | null)[];
            /**
             * Non Finite
             * @description how many values were NaN or infinite
             */
            non_finite: number[];
        };
        /**
         * MonitorRead
         * @description How far one monitor of an attempt is, and how it clips, as its client said last.
         */
        MonitorRead: {
            /** Clip Value */
            clip_value: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Lost */
            lost: number;
            /** Made */
            made: number;
            /** Max Norm */
            max_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Norm Type */
            norm_type: number | ("NaN" | "Infinity" | "-Infinity");
            /** Optimizer */
            optimizer: string | null;
            /** Spooled */
            spooled: number;
        };
        /**
         * NamedEvent
         * @description An event among those of other runs.
         */
        NamedEvent: {
            acknowledgement: components["schemas"]["AcknowledgementRead"] | null;
            /**
             * Action
             * @description what to do about it, if the guess is right
             */
            action: string | null;
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /**
             * Batch Id
             * @description what the client called the batch of the first bad step
             */
            batch_id: string | null;
            /**
             * Cause
             * @description a guess
             */
            cause: string | null;
            /** Detector Version */
            detector_version: number;
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /**
             * First Layer
             * @description the layer that left its usual first, or was not finite first
             */
            first_layer: string | null;
            /**
             * Kind
             * @enum {string}
             */
            kind: "explosion" | "vanishing" | "non_finite" | "clip_saturation" | "instability" | "two_processes";
            /** Last Healthy Step */
            last_healthy_step: number | null;
            /** Layers */
            layers: string[];
            /** Message */
            message: string;
            /** Monitor */
            monitor: string;
            /**
             * Opened At
             * Format: date-time
             */
            opened_at: string;
            /** Peak */
            peak: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Peak Step */
            peak_step: number | null;
            /** Rank */
            rank: number;
            /** Resolved At */
            resolved_at: string | null;
            /** @description the newest checkpoint that was clean when it opened, and holds no suspect step */
            resume_from: components["schemas"]["CheckpointPlace"] | null;
            /** Revision */
            revision: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /** Run Name */
            run_name: string;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /**
             * Shares
             * @description of each of `layers`: its module's share of the squared norm, at the peak where there is one
             */
            shares: number[] | null;
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
            /** Times Usual */
            times_usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Updated At
             * Format: date-time
             */
            updated_at: string;
            /** Usual */
            usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Weights Finite
             * @description null: not measured since a gradient may have spoiled them
             */
            weights_finite: boolean | null;
        };
        /**
         * NewestRead
         * @description The newest frames, with medians; null where nothing is known.
         */
        NewestRead: {
            /** Clip Rate */
            clip_rate: number | null;
            /**
             * Effective Lr
             * @description of learning rate times clip coefficient
             */
            effective_lr: number | null;
            /**
             * Frames
             * @description how many, at most 1,024
             */
            frames: number;
            /** Global Norm */
            global_norm: number | null;
            /** Lr */
            lr: number | null;
            /**
             * Max Norm
             * @description the threshold in force; null where norm clipping is off
             */
            max_norm: number | null;
        };
        /**
         * RecordedEventRead
         * @description An event on record.
         */
        RecordedEventRead: {
            /**
             * Action
             * @description what to do about it, if the guess is right
             */
            action: string | null;
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /**
             * Batch Id
             * @description what the client called the batch of the first bad step
             */
            batch_id: string | null;
            /**
             * Cause
             * @description a guess
             */
            cause: string | null;
            /** Detector Version */
            detector_version: number;
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             */
            event_id: string;
            /**
             * First Layer
             * @description the layer that left its usual first, or was not finite first
             */
            first_layer: string | null;
            /**
             * Kind
             * @enum {string}
             */
            kind: "explosion" | "vanishing" | "non_finite" | "clip_saturation" | "instability" | "two_processes";
            /** Last Healthy Step */
            last_healthy_step: number | null;
            /** Layers */
            layers: string[];
            /** Message */
            message: string;
            /** Monitor */
            monitor: string;
            /**
             * Opened At
             * Format: date-time
             */
            opened_at: string;
            /**
             * Paged
             * @description as `pages`
             */
            paged: boolean;
            /** Peak */
            peak: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Peak Step */
            peak_step: number | null;
            /** Rank */
            rank: number;
            /** Resolved At */
            resolved_at: string | null;
            /** @description the newest checkpoint that was clean when it opened, and holds no suspect step */
            resume_from: components["schemas"]["CheckpointPlace"] | null;
            /** Revision */
            revision: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /**
             * Shares
             * @description of each of `layers`: its module's share of the squared norm, at the peak where there is one
             */
            shares: number[] | null;
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
            /** Times Usual */
            times_usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Updated At
             * Format: date-time
             */
            updated_at: string;
            /** Usual */
            usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Weights Finite
             * @description null: not measured since a gradient may have spoiled them
             */
            weights_finite: boolean | null;
        };
        /**
         * ReplayRead
         * @description What a run would have told under other choices, beside what it has told; of each at most 1,000 events.
         */
        ReplayRead: {
            /**
             * Events
             * @description what would be told now, in the order of steps
             */
            events: components["schemas"]["ToldEventRead"][];
            /**
             * Frames
             * @description that were judged
             */
            frames: number;
            /** Ignore */
            ignore: string[];
            /**
             * Left Out
             * @description frames that cannot be judged any more, since their layers are kept no longer
             */
            left_out: number;
            /** Off */
            off: ("non_finite" | "explosion" | "vanishing" | "clip_saturation" | "instability")[];
            /**
             * On Record
             * @description what was told, in the order of steps
             */
            on_record: components["schemas"]["RecordedEventRead"][];
            /** Paged Then */
            paged_then: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * Sensitivity
             * @enum {string}
             */
            sensitivity: "calm" | "normal" | "keen";
            /** Told Then */
            told_then: number;
            /** Would Page Now */
            would_page_now: number;
            /** Would Tell Now */
            would_tell_now: number;
        };
        /**
         * ResumeRead
         * @description Which checkpoint to resume from.
         */
        ResumeRead: {
            newest_clean: components["schemas"]["CheckpointPlace"] | null;
            /**
             * Not Clean
             * @description how many newer ones are not clean; all of them where none is clean
             */
            not_clean: number;
        };
        /**
         * RunDeclared
         * @description The answer to a declared run.
         */
        RunDeclared: {
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /** Wire Versions */
            wire_versions: number[];
        };
        /**
         * RunLive
         * @description One run's newest figures, as open pages are told them.
         */
        RunLive: {
            /** Clip Rate */
            clip_rate: number | null;
            /**
             * Created At
             * Format: date-time
             */
            created_at: string;
            /** Global Norm */
            global_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Group */
            group: string | null;
            /**
             * Health
             * @enum {string}
             */
            health: "healthy" | "warning" | "critical" | "not_measurable" | "unknown";
            /**
             * Last Seen At
             * Format: date-time
             */
            last_seen_at: string;
            /** Last Step */
            last_step: number | null;
            /** Loss */
            loss: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Max Norm */
            max_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Name */
            name: string;
            /** Open Events */
            open_events: components["schemas"]["EventRead"][];
            /** Owner */
            owner: string | null;
            /** Project */
            project: string;
            /**
             * Recent Events
             * @description its newest 8, open or not, newest first
             */
            recent_events: components["schemas"]["EventMark"][];
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /**
             * State
             * @description unreachable: no heartbeat for 30 s; hung: a heartbeat and no step for longer than 15 min and than three times the longest wait for a step that came after all, or for 60 min since its newest attempt began
             * @enum {string}
             */
            state: "running" | "paused" | "finished" | "failed" | "unreachable" | "hung";
            /**
             * Step Rate
             * @description steps a second over the newest minute of frames, by the frames' own times; null while it does not step: when it is not running, or its newest step came longer ago than a minute and than three usual steps take
             */
            step_rate: number | null;
            /** Tags */
            tags: string[];
            /**
             * Waiting Since
             * @description for its next step: when the newest one arrived, or when its attempt or a pause before it ended
             */
            waiting_since: string | null;
        };
        /**
         * RunRead
         * @description Everything about one run but its frames.
         */
        RunRead: {
            /** Attempts */
            attempts: components["schemas"]["AttemptRead"][];
            /** Clip Rate */
            clip_rate: number | null;
            /** Config */
            config: {
                [key: string]: unknown;
            };
            /**
             * Created At
             * Format: date-time
             */
            created_at: string;
            /** Event Revision */
            event_revision: number;
            /** Frames */
            frames: number;
            /** Global Norm */
            global_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Group */
            group: string | null;
            /**
             * Health
             * @enum {string}
             */
            health: "healthy" | "warning" | "critical" | "not_measurable" | "unknown";
            /**
             * Last Seen At
             * Format: date-time
             */
            last_seen_at: string;
            /** Last Step */
            last_step: number | null;
            /** Links */
            links: {
                [key: string]: unknown;
            };
            /** Loss */
            loss: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Lost */
            lost: number;
            /** Max Norm */
            max_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Monitors */
            monitors: string[];
            /** Name */
            name: string;
            /** Open Events */
            open_events: components["schemas"]["EventRead"][];
            /** Owner */
            owner: string | null;
            /** Project */
            project: string;
            /**
             * Recent Events
             * @description its newest 8, open or not, newest first
             */
            recent_events: components["schemas"]["EventMark"][];
            /** @description null: the run has told of no checkpoint */
            resume_from: components["schemas"]["ResumeRead"] | null;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            sparkline: components["schemas"]["SparklineRead"];
            /**
             * State
             * @description unreachable: no heartbeat for 30 s; hung: a heartbeat and no step for longer than 15 min and than three times the longest wait for a step that came after all, or for 60 min since its newest attempt began
             * @enum {string}
             */
            state: "running" | "paused" | "finished" | "failed" | "unreachable" | "hung";
            /**
             * Step Rate
             * @description steps a second over the newest minute of frames, by the frames' own times; null while it does not step: when it is not running, or its newest step came longer ago than a minute and than three usual steps take
             */
            step_rate: number | null;
            /** Tags */
            tags: string[];
            /** Versions */
            versions: {
                [key: string]: unknown;
            };
            /**
             * Waiting Since
             * @description for its next step: when the newest one arrived, or when its attempt or a pause before it ended
             */
            waiting_since: string | null;
        };
        /**
         * RunSummary
         * @description One run as the overview shows it.
         */
        RunSummary: {
            /** Clip Rate */
            clip_rate: number | null;
            /**
             * Created At
             * Format: date-time
             */
            created_at: string;
            /** Global Norm */
            global_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Group */
            group: string | null;
            /**
             * Health
             * @enum {string}
             */
            health: "healthy" | "warning" | "critical" | "not_measurable" | "unknown";
            /**
             * Last Seen At
             * Format: date-time
             */
            last_seen_at: string;
            /** Last Step */
            last_step: number | null;
            /** Loss */
            loss: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Max Norm */
            max_norm: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Name */
            name: string;
            /** Open Events */
            open_events: components["schemas"]["EventRead"][];
            /** Owner */
            owner: string | null;
            /** Project */
            project: string;
            /**
             * Recent Events
             * @description its newest 8, open or not, newest first
             */
            recent_events: components["schemas"]["EventMark"][];
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            sparkline: components["schemas"]["SparklineRead"];
            /**
             * State
             * @description unreachable: no heartbeat for 30 s; hung: a heartbeat and no step for longer than 15 min and than three times the longest wait for a step that came after all, or for 60 min since its newest attempt began
             * @enum {string}
             */
            state: "running" | "paused" | "finished" | "failed" | "unreachable" | "hung";
            /**
             * Step Rate
             * @description steps a second over the newest minute of frames, by the frames' own times; null while it does not step: when it is not running, or its newest step came longer ago than a minute and than three usual steps take
             */
            step_rate: number | null;
            /** Tags */
            tags: string[];
            /**
             * Waiting Since
             * @description for its next step: when the newest one arrived, or when its attempt or a pause before it ended
             */
            waiting_since: string | null;
        };
        /**
         * ScalarsRead
         * @description Which scalars were logged, besides what every frame has.
         */
        ScalarsRead: {
            /**
             * Count
             * @description how many there are, told or not
             */
            count: number;
            /**
             * Names
             * @description as `metrics` of `series` takes them, by name; at most 512
             */
            names: string[];
        };
        /**
         * SeriesRead
         * @description Metrics over the steps asked for; where attempts overlap, the newest is shown.
         */
        SeriesRead: {
            /** Attempts */
            attempts: components["schemas"]["AttemptStart"][];
            /**
             * Bucket
             * @description about how many frames a bucket holds; 1 = every frame
             */
            bucket: number;
            /**
             * Frames
             * @description frames in the range
             */
            frames: number;
            /** Gaps */
            gaps: components["schemas"]["GapRead"][];
            /**
             * Last Step
             * @description newest step of the run, in the range or not
             */
            last_step: number | null;
            /** Monitor */
            monitor: string;
            /** Rank */
            rank: number;
            /**
             * Run Id
             * Format: uuid
             */
            run_id: string;
            /** Series */
            series: {
                [key: string]: components["schemas"]["MetricRead"];
            };
            /**
             * Step
             * @description the first step of each bucket
             */
            step: number[];
        };
        /**
         * SparklineRead
         * @description A run's global norm in at most 60 buckets; ``min`` and ``max`` over finite values.
         */
        SparklineRead: {
            /** Max */
            max: (number | null)[];
            /** Min */
            min: (number | null)[];
            /** Non Finite */
            non_finite: number[];
            /** Step */
            step: number[];
        };
        /**
         * Status
         * @description All is well; everything else is an error.
         */
        Status: {
            /** Status */
            status: string;
        };
        /**
         * ThresholdRead
         * @description What one threshold would have clipped; the counts are exact for a number of up to three significant digits.
         */
        ThresholdRead: {
            /**
             * Clip Rate
             * @description `clipped` over `frames`
             */
            clip_rate: number | null;
            /**
             * Clipped
             * @description of all frames; at least so many, where the threshold has more digits
             */
            clipped: number;
            /** Clipped At Most */
            clipped_at_most: number;
            /**
             * Healthy Clip Rate
             * @description `healthy_clipped` over `healthy_frames`
             */
            healthy_clip_rate: number | null;
            /** Healthy Clipped */
            healthy_clipped: number;
            /** Healthy Clipped At Most */
            healthy_clipped_at_most: number;
            /** Max Norm */
            max_norm: number;
            /**
             * Mean Clip Coefficient
             * @description over all frames, to half a percent
             */
            mean_clip_coefficient: number;
        };
        /**
         * ToldEventRead
         * @description An event as it would have been told; a field that is also one of ``EventRead`` means the same.
         */
        ToldEventRead: {
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
            /** End Step */
            end_step: number | null;
            /**
             * Event Id
             * Format: uuid
             * @description that of the event on record which began at the same frame, if there is one
             */
            event_id: string;
            /**
             * Kind
             * @enum {string}
             */
            kind: "non_finite" | "explosion" | "vanishing" | "clip_saturation" | "instability";
            /** Layers */
            layers: string[];
            /** Message */
            message: string;
            /** Monitor */
            monitor: string;
            /**
             * Pages
             * @description whether somebody would have been paged for it, where an alert channel is set
             */
            pages: boolean;
            /** Peak */
            peak: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "warning" | "critical";
            /** Start Step */
            start_step: number;
            /**
             * Status
             * @enum {string}
             */
            status: "open" | "resolved";
            /** Times Usual */
            times_usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
            /** Usual */
            usual: number | ("NaN" | "Infinity" | "-Infinity") | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    read_dashboard_api_v1_dashboard_get: {
        parameters: {
            query?: {
                /** @description `next_cursor` of the page before */
                cursor?: string | null;
                group?: string | null;
                /** @description only runs of this health */
                health?: ("healthy" | "warning" | "critical" | "not_measurable" | "unknown") | null;
                /** @description runs a page */
                limit?: number;
                owner?: string | null;
                project?: string | null;
                q?: string | null;
                /** @description only runs in this state */
                state?: ("running" | "paused" | "finished" | "failed" | "unreachable" | "hung") | null;
                tag?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DashboardRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_facets_api_v1_dashboard_facets_get: {
        parameters: {
            query?: {
                group?: string | null;
                /** @description only runs of this health */
                health?: ("healthy" | "warning" | "critical" | "not_measurable" | "unknown") | null;
                owner?: string | null;
                project?: string | null;
                q?: string | null;
                /** @description only runs in this state */
                state?: ("running" | "paused" | "finished" | "failed" | "unreachable" | "hung") | null;
                tag?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FacetsRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_groups_api_v1_dashboard_groups_get: {
        parameters: {
            query: {
                /** @description what the runs of a group share */
                by: "project" | "tag" | "group" | "owner";
                group?: string | null;
                /** @description only runs of this health */
                health?: ("healthy" | "warning" | "critical" | "not_measurable" | "unknown") | null;
                owner?: string | null;
                project?: string | null;
                q?: string | null;
                /** @description only runs in this state */
                state?: ("running" | "paused" | "finished" | "failed" | "unreachable" | "hung") | null;
                tag?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GroupsRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_events_api_v1_events_get: {
        parameters: {
            query?: {
                /** @description whether somebody has taken note */
                acknowledged?: boolean | null;
                /** @description `next_cursor` of the page before */
                cursor?: string | null;
                /** @description only events of this kind */
                kind?: ("explosion" | "vanishing" | "non_finite" | "clip_saturation" | "instability" | "two_processes") | null;
                /** @description events a page */
                limit?: number;
                project?: string | null;
                q?: string | null;
                /** @description only events of this run */
                run?: string | null;
                /** @description only events of this severity */
                severity?: ("critical" | "warning" | "info") | null;
                /** @description only events of this status */
                status?: ("open" | "resolved") | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InboxRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    follow_api_v1_live_get: {
        parameters: {
            query?: {
                /** @description what to tell of all other runs */
                others?: "figures" | "events" | "none";
                /** @description ids of runs whose frames to tell, comma-separated */
                runs?: string;
                /** @description seconds before now to begin with */
                since?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["LiveRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    make_login_link_api_v1_login_codes_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoginLink"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_detection_api_v1_projects__project__detection_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the project's name */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DetectionRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    choose_detection_api_v1_projects__project__detection_put: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the project's name */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DetectionRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_api_v1_runs__run_id__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    declare_run_api_v1_runs__run_id__put: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunDeclared"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    delete_run_api_v1_runs__run_id__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_advice_api_v1_runs__run_id__advice_get: {
        parameters: {
            query?: {
                /** @description a threshold to judge; repeatable */
                max_norm?: number[] | null;
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                rank?: number;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdviceRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    declare_attempt_api_v1_runs__run_id__attempts__attempt_id__put: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                attempt_id: string;
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HeartbeatAnswer"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_picture_api_v1_runs__run_id__chart_png_get: {
        parameters: {
            query?: {
                /** @description pixels */
                height?: number;
                /** @description how many of the newest steps */
                last?: number;
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                rank?: number;
                theme?: "light" | "dark";
                /** @description pixels */
                width?: number;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/png": unknown;
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_checkpoints_api_v1_runs__run_id__checkpoints_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CheckpointList"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    declare_checkpoints_api_v1_runs__run_id__checkpoints_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CheckpointsTaken"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    receive_chunk_api_v1_runs__run_id__chunks_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FramesTaken"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_events_api_v1_runs__run_id__events_get: {
        parameters: {
            query?: {
                /** @description at most this many events */
                limit?: number;
                /** @description only events of this status */
                status?: ("open" | "resolved") | null;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventList"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    acknowledge_event_api_v1_runs__run_id__events__event_id__acknowledgement_put: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                event_id: string;
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventForPeople"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    take_back_acknowledgement_api_v1_runs__run_id__events__event_id__acknowledgement_delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                event_id: string;
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventForPeople"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_evidence_api_v1_runs__run_id__events__event_id__evidence_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                event_id: string;
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EvidenceRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    export_run_api_v1_runs__run_id__export_get: {
        parameters: {
            query?: {
                from_step?: number | null;
                /** @description a layer's name; repeatable */
                layer?: string[] | null;
                /** @description as of `series`; may be empty */
                metrics?: string | null;
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                rank?: number;
                to_step?: number | null;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/vnd.gradvitals.export+msgpack": unknown;
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    receive_frames_api_v1_runs__run_id__frames_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FramesTaken"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_layers_api_v1_runs__run_id__layers_get: {
        parameters: {
            query?: {
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                rank?: number;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LayersRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_heatmap_api_v1_runs__run_id__layers_heatmap_get: {
        parameters: {
            query?: {
                from_step?: number | null;
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                /** @description at most this many buckets */
                points?: number;
                rank?: number;
                statistic?: "max" | "mean" | "min";
                to_step?: number | null;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HeatmapRead"];
                    "application/vnd.gradvitals.heatmap": unknown;
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_layer_series_api_v1_runs__run_id__layers_series_get: {
        parameters: {
            query: {
                from_step?: number | null;
                /** @description the layer's name */
                layer: string;
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                /** @description at most this many buckets */
                points?: number;
                rank?: number;
                to_step?: number | null;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SeriesRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    declare_layout_api_v1_runs__run_id__layouts__layout_id__put: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                layout_id: string;
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LayoutDeclared"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    replay_run_api_v1_runs__run_id__replay_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReplayRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_scalars_api_v1_runs__run_id__scalars_get: {
        parameters: {
            query?: {
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                rank?: number;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScalarsRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_run_series_api_v1_runs__run_id__series_get: {
        parameters: {
            query?: {
                from_step?: number | null;
                /** @description comma-separated: columns, `time`, `clip_rate`, names of logged scalars, in which a comma is `\,` */
                metrics?: string;
                /** @description by default `main`, or the first by name */
                monitor?: string | null;
                /** @description at most this many buckets */
                points?: number;
                rank?: number;
                to_step?: number | null;
            };
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SeriesRead"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_health_healthz_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Status"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
    read_readiness_readyz_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Status"];
                };
            };
            /** @description a refusal, in one shape for all */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorRead"];
                };
            };
        };
    };
}
