/** What the reading API answers, by the names the page uses; the shapes are those the service declares. */
import type { components } from "./api-types";

type Schemas = components["schemas"];

export type Dashboard = Schemas["DashboardRead"];
export type RunSummary = Schemas["RunSummary"];
export type RunDetail = Schemas["RunRead"];
export type Sparkline = Schemas["SparklineRead"];
export type Attempt = Schemas["AttemptRead"];
export type Event = Schemas["EventRead"];
export type EventList = Schemas["EventList"];
export type SeriesAnswer = Schemas["SeriesRead"];
export type ScalarsAnswer = Schemas["ScalarsRead"];
export type MetricColumns = Schemas["MetricRead"];
export type Gap = Schemas["GapRead"];
export type LayersAnswer = Schemas["LayersRead"];
export type LayerRow = Schemas["LayerRead"];
export type Health = RunSummary["health"];

/** A run as the live stream tells it: without its sparkline. */
export type RunLive = Schemas["RunLive"];
/** Frames that were just committed: columns of equal length. */
export type LiveFrames = Schemas["LiveFrames"];

export type LiveMessage =
  | { kind: "run"; run: RunLive }
  | { kind: "event"; event: Event }
  | { kind: "frames"; frames: LiveFrames }
  | { kind: "resync" };
