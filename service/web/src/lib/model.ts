/** What the reading API answers, by the names the page uses. */
import type { WireNumber } from "./wire";

export type { Health } from "./routes";
import type { Health } from "./routes";

export type RunState = "running" | "paused" | "finished" | "failed" | "unreachable";

export interface Event {
  event_id: string;
  run_id: string;
  attempt_id: string;
  monitor: string;
  rank: number;
  kind: string;
  severity: "info" | "warning" | "critical";
  status: "open" | "resolved";
  start_step: number;
  end_step: number | null;
  opened_at: string;
  updated_at: string;
  resolved_at: string | null;
  peak: WireNumber | null;
  times_usual: WireNumber | null;
  usual: WireNumber | null;
  layers: string[];
  message: string;
  revision: number;
  detector_version: number;
}

export interface Sparkline {
  step: number[];
  min: (number | null)[];
  max: (number | null)[];
  non_finite: number[];
}

export interface RunLive {
  run_id: string;
  project: string;
  name: string;
  owner: string | null;
  group: string | null;
  tags: string[];
  state: RunState;
  health: Health;
  created_at: string;
  last_seen_at: string;
  last_step: number | null;
  global_norm: WireNumber | null;
  loss: WireNumber | null;
  clip_rate: number | null;
  max_norm: WireNumber | null;
  open_events: Event[];
}

export interface RunSummary extends RunLive {
  sparkline: Sparkline;
}

export interface Dashboard {
  now: string;
  totals: Record<Health, number>;
  runs: RunSummary[];
  next_cursor: string | null;
  events: Event[];
}

export interface MonitorDelivery {
  made: number;
  spooled: number;
  lost: number;
  optimizer: string | null;
  max_norm: WireNumber | null;
  clip_value: WireNumber | null;
  norm_type: WireNumber | null;
}

export interface Attempt {
  attempt_id: string;
  rank: number;
  world_size: number;
  host: string | null;
  pid: number | null;
  started_at: string;
  state: string;
  last_step: number | null;
  heartbeat_at: string | null;
  overhead: number | null;
  exception: string | null;
  monitors: Record<string, MonitorDelivery>;
}

export interface RunDetail extends RunSummary {
  config: Record<string, unknown>;
  links: Record<string, unknown>;
  versions: Record<string, unknown>;
  attempts: Attempt[];
  monitors: string[];
  frames: number;
  lost: number;
  event_revision: number;
}

export interface MetricColumns {
  min: (number | null)[];
  max: (number | null)[];
  mean: (number | null)[];
  non_finite: number[];
}

export interface Gap {
  first_step: number | null;
  last_step: number | null;
  n: number;
  reason: string;
}

export interface SeriesAnswer {
  run_id: string;
  monitor: string;
  rank: number;
  frames: number;
  bucket: number;
  step: number[];
  series: Record<string, MetricColumns>;
  gaps: Gap[];
  attempts: { attempt_id: string; first_step: number }[];
  last_step: number | null;
}

export interface LayerRow {
  name: string;
  module: string;
  shape: number[];
  numel: number;
  parameter_group: number;
  trainable: boolean;
  norm: WireNumber;
  share: number | null;
  param_norm: number | null;
}

export interface LayersAnswer {
  step: number | null;
  layers: LayerRow[];
}

export interface LiveFrames {
  run_id: string;
  monitor: string;
  rank: number;
  step: number[];
  global_norm: WireNumber[];
  loss: (WireNumber | null)[];
  clip_coefficient: WireNumber[];
  max_norm: WireNumber[];
  lr: WireNumber[];
}

export type LiveMessage =
  | { kind: "run"; run: RunLive }
  | { kind: "event"; event: Event }
  | { kind: "frames"; frames: LiveFrames }
  | { kind: "resync" };
