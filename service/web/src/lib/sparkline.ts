/** A sparkline of the norm as SVG path data: log scale, min to max, so that a one-step spike shows at any size. */
import type { EventMark, RunLive, Sparkline } from "./model";
import { logCeiling } from "./ticks";
import { toFinite } from "./wire";

const DECADES_ABOVE_USUAL = 4;

export interface SparkShape {
  /** The area between minimum and maximum, one closed path for each stretch without a gap. */
  area: string;
  /** The upper edge of the same. */
  line: string;
  /** Where non-finite steps were, in x. */
  nonFinite: number[];
  /** Where events opened, in x, with how they stand. */
  marks: { x: number; severity: EventMark["severity"]; open: boolean }[];
  /** The threshold's height, null when it is off or outside. */
  threshold: number | null;
}

export function sparkShape(sparkline: Sparkline, maxNorm: number | null, width: number, height: number, events: readonly EventMark[] = []): SparkShape {
  const { step, min, max, non_finite: nonFinite } = sparkline;
  const first = step[0] ?? 0;
  const span = Math.max(1, (step.at(-1) ?? 0) - first);
  const x = (at: number): number => round(((at - first) / span) * width);
  const values = [...min, ...max].filter((value): value is number => value !== null && value > 0);
  const low = Math.log10(values.length ? Math.min(...values) : 1) - 0.1;
  const top = Math.min(values.length ? Math.max(...values) : 1, logCeiling(max, DECADES_ABOVE_USUAL));
  const high = Math.max(low + 1, Math.log10(top) + 0.1);
  const y = (value: number): number => round(Math.max(0, height - ((Math.log10(value) - low) / (high - low)) * height));

  const shape: SparkShape = { area: "", line: "", nonFinite: [], marks: [], threshold: null };
  for (const [from, to] of stretches(max)) {
    const upper: string[] = [];
    const lower: string[] = [];
    for (let i = from; i < to; i++) {
      const top = y(Math.max(max[i] ?? 0, 10 ** low));
      const bottom = Math.max(y(Math.max(min[i] ?? 0, 10 ** low)), top + 1);
      upper.push(`${x(step[i] ?? 0)},${top}`);
      lower.push(`${x(step[i] ?? 0)},${bottom}`);
    }
    if (to - from === 1) upper.push(`${round(x(step[from] ?? 0) + 1)},${upper[0]?.split(",")[1]}`);
    shape.line += `M${upper.join("L")}`;
    shape.area += `M${upper.join("L")}L${lower.reverse().join("L")}Z`;
  }
  shape.nonFinite = nonFinite.flatMap((count, i) => (count > 0 ? [x(step[i] ?? 0)] : []));
  if (step.length > 0) {
    shape.marks = events
      .filter((event) => event.severity !== "info" && event.start_step >= first)
      .map((event) => ({ x: Math.min(width, x(event.start_step)), severity: event.severity, open: event.status === "open" }));
  }
  const limit = maxNorm !== null && maxNorm > 0 ? Math.log10(maxNorm) : null;
  if (limit !== null && limit >= low && limit <= high) shape.threshold = y(10 ** limit);
  return shape;
}

/** The sparkline with the newest value of a live update joined to it, until the service is asked again: it widens the
 * newest bucket, or begins the next one where that is as long as the one before. */
export function extendSparkline(sparkline: Sparkline, run: RunLive): Sparkline {
  const norm = toFinite(run.global_norm);
  const { step, min, max, non_finite: nonFinite } = sparkline;
  const newest = step.at(-1);
  if (run.last_step === null || run.global_norm === null || (newest !== undefined && run.last_step <= newest)) return sparkline;
  const bad = norm === null ? 1 : 0;
  const width = newest === undefined ? 0 : newest - (step.at(-2) ?? newest);
  if (newest === undefined || run.last_step >= newest + width) {
    return { step: [...step, run.last_step], min: [...min, norm], max: [...max, norm], non_finite: [...nonFinite, bad] };
  }
  const merge = (values: (number | null)[], pick: typeof Math.min): (number | null)[] => values.with(-1, norm === null ? (values.at(-1) ?? null) : pick(values.at(-1) ?? norm, norm));
  return { step, min: merge(min, Math.min), max: merge(max, Math.max), non_finite: nonFinite.with(-1, (nonFinite.at(-1) ?? 0) + bad) };
}

function stretches(values: readonly (number | null)[]): [number, number][] {
  const found: [number, number][] = [];
  for (let from = 0; from < values.length; from++) {
    if (values[from] == null) continue;
    let to = from;
    while (to < values.length && values[to] != null) to++;
    found.push([from, to]);
    from = to;
  }
  return found;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
