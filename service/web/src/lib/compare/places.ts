/** Where a run's buckets lie along the axis of a comparison, and which steps a range of that axis means. Pure. */
import { AROUND_EVENT, SINCE_START, STEPS, TIME_OF_DAY, type Along } from "../chart/along";
import type { CompareBy } from "../routes";
import type { SeriesBuffer } from "../series";

export const ALONG: Record<CompareBy, Along> = { step: STEPS, elapsed: SINCE_START, time: TIME_OF_DAY, event: AROUND_EVENT };

/** What a run is laid out from: its first moment in seconds since 1970, and its first event. */
export interface Origin {
  time: number | null;
  eventStep: number | null;
}

export type Steps = Pick<SeriesBuffer, "step" | "metrics">;

/** For each bucket its place; null where it has none, as a run without events around its event. */
export function placesOf(series: Steps, by: CompareBy, origin: Origin): (number | null)[] {
  if (by === "step") return series.step;
  if (by === "event") return series.step.map((step) => (origin.eventStep === null ? null : step - origin.eventStep));
  const times = filled(series.step, beganAt(series)).times;
  if (by === "time") return times;
  return times.map((time) => (time === null || origin.time === null ? null : time - origin.time));
}

/** When a run's first known bucket began. */
export function firstTime(series: Steps): number | null {
  return filled(series.step, beganAt(series)).times.find((time) => time !== null) ?? null;
}

/** True where times are missing between others, so that they are drawn in between by their steps. */
export function hasEstimatedTimes(series: Steps): boolean {
  return filled(series.step, beganAt(series)).estimated;
}

/** The steps to ask for, so that a range of the axis is covered to both its ends; null where the run has none there. */
export function stepsWithin(series: Steps, places: readonly (number | null)[], from: number, to: number): { from: number; to: number } | null {
  const known = series.step.flatMap((step, index) => {
    const place = places[index];
    return place == null ? [] : [{ step, place }];
  });
  const inside = known.filter(({ place }) => place <= to);
  const [begin, end] = [known.findLast(({ place }) => place <= from), known.find(({ place }) => place > to)];
  if (inside.length === 0 || known.length === 0) return null;
  const last = end?.step ?? Infinity; // up to the newest step, whichever it is by then
  return { from: begin?.step ?? inside[0]?.step ?? 0, to: Number.isFinite(last) ? last : (known.at(-1)?.step ?? 0) + newestBucket(series.step) };
}

/** Where a step lies; null where the run has no bucket around it. */
export function placeOfStep(step: readonly number[], places: readonly (number | null)[], wanted: number): number | null {
  const at = step.findLastIndex((begin) => begin <= wanted);
  const [begin, end, from, to] = [step[at], step[at + 1], places[at], places[at + 1]];
  if (begin === undefined || from == null) return null;
  if (end === undefined || to == null) return wanted - begin <= newestBucket(step) ? from : null;
  return from + ((wanted - begin) / (end - begin)) * (to - from);
}

/** Missing times lie between their neighbours as their steps do; before the first and after the last nothing is known. */
export function filled(step: readonly number[], times: readonly (number | null)[]): { times: (number | null)[]; estimated: boolean } {
  const result = [...times];
  let estimated = false;
  let before = -1;
  times.forEach((time, at) => {
    if (time === null) return;
    for (let index = before + 1; before >= 0 && index < at; index++) {
      const share = ((step[index] ?? 0) - (step[before] ?? 0)) / ((step[at] ?? 0) - (step[before] ?? 0));
      result[index] = (times[before] ?? 0) + share * (time - (times[before] ?? 0));
      estimated = true;
    }
    before = at;
  });
  return { times: result, estimated };
}

function beganAt(series: Steps): (number | null)[] {
  return series.metrics["time"]?.min ?? series.step.map(() => null);
}

/** How many steps the newest bucket may reach: as many as the one before it. */
function newestBucket(step: readonly number[]): number {
  return step.length < 2 ? 1 : Math.max(1, (step.at(-1) ?? 0) - (step.at(-2) ?? 0));
}
