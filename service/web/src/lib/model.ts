/** What the reading API answers, by the names the page uses; the shapes are those the service declares. */
import type { components } from "./api-types";

type Schemas = components["schemas"];

export type Dashboard = Schemas["DashboardRead"];
export type RunSummary = Schemas["RunSummary"];
export type RunDetail = Schemas["RunRead"];
export type Sparkline = Schemas["SparklineRead"];
export type Attempt = Schemas["AttemptRead"];
export type Event = Schemas["EventRead"];
/** An event with what a person said to it. */
export type EventForPeople = Schemas["EventForPeople"];
export type EventList = Schemas["EventList"];
/** An event with its run's name, as the overview and the live stream tell it. */
export type NamedEvent = Schemas["NamedEvent"];
/** An event with whose run it is, as the inbox has it. */
export type InboxEvent = Schemas["InboxEvent"];
export type InboxAnswer = Schemas["InboxRead"];
export type Evidence = Schemas["EvidenceRead"];
export type SeriesAnswer = Schemas["SeriesRead"];
export type ScalarsAnswer = Schemas["ScalarsRead"];
export type MetricColumns = Schemas["MetricRead"];
export type Gap = Schemas["GapRead"];
export type LayersAnswer = Schemas["LayersRead"];
export type HeatmapAnswer = Schemas["HeatmapRead"];
export type LayerRow = Schemas["LayerRead"];
export type AdviceAnswer = Schemas["AdviceRead"];
export type Health = RunSummary["health"];
export type RunState = RunSummary["state"];
export type EventMark = Schemas["EventMark"];
export type Facets = Schemas["FacetsRead"];
export type Groups = Schemas["GroupsRead"];
export type Group = Schemas["GroupRead"];
export type Grouping = Groups["by"];

/** A run as the live stream tells it: without its sparkline. */
export type RunLive = Schemas["RunLive"];
/** Frames that were just committed: columns of equal length. */
export type LiveFrames = Schemas["LiveFrames"];

export type LiveMessage =
  | { kind: "run"; run: RunLive }
  | { kind: "event"; event: NamedEvent }
  | { kind: "frames"; frames: LiveFrames }
  | { kind: "resync" };
