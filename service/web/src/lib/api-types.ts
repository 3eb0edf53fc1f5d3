/** Made by `npm run types` from the service's OpenAPI description. Never edited by hand. */

export interface paths {
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
         * @description The database answers and is at this version's schema, and the writer writes.
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
            /**
             * Started At
             * Format: date-time
             */
            started_at: string;
            /** State */
            state: string;
            /** World Size */
            world_size: number;
        };
        /**
         * EventRead
         * @description One trouble of one stream; ``end_step`` and ``resolved_at`` are null while it is open.
         */
        EventRead: {
            /**
             * Attempt Id
             * Format: uuid
             */
            attempt_id: string;
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
             * Kind
             * @enum {string}
             */
            kind: "explosion" | "vanishing" | "non_finite";
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
            /** Rank */
            rank: number;
            /** Resolved At */
            resolved_at: string | null;
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
        /** HTTPValidationError */
        HTTPValidationError: {
            /** Detail */
            detail?: components["schemas"]["ValidationError"][];
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
         * LoginLink
         * @description A link that opens the page once.
         */
        LoginLink: {
            /** Url */
            url: string;
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
             * Run Id
             * Format: uuid
             */
            run_id: string;
            sparkline: components["schemas"]["SparklineRead"];
            /**
             * State
             * @enum {string}
             */
            state: "running" | "paused" | "finished" | "failed" | "unreachable";
            /** Tags */
            tags: string[];
            /** Versions */
            versions: {
                [key: string]: unknown;
            };
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
        /** ValidationError */
        ValidationError: {
            /** Context */
            ctx?: Record<string, never>;
            /** Input */
            input?: unknown;
            /** Location */
            loc: (string | number)[];
            /** Message */
            msg: string;
            /** Error Type */
            type: string;
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
            /** @description Validation Error */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HTTPValidationError"];
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
            /** @description Validation Error */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HTTPValidationError"];
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
            /** @description Validation Error */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HTTPValidationError"];
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
            /** @description Validation Error */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HTTPValidationError"];
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
            /** @description Validation Error */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HTTPValidationError"];
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
            /** @description Validation Error */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HTTPValidationError"];
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
        };
    };
}
