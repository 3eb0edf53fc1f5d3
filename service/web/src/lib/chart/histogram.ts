/** Norms as columns over a logarithmic axis: where each column stands and how high it is. Pure. */
import type { AdviceAnswer } from "../model";
import { logRange } from "../ticks";

type Buckets = AdviceAnswer["histogram"];

const SMALLEST = 1e-45; // no float32 above zero is smaller
const LARGEST = 1e39;
const LEAST_DECADES = 1.5;
const MOST_DECADES_BEYOND = 2;

export interface Columns {
  frames: number[];
  healthy: number[];
}

/** The ends of the axis: around the healthy norms and the thresholds to be shown, and at most so far beyond that a run
 * which ended at 1e20 leaves room for them; wide enough to drag a line in. */
export function axisOf(buckets: Buckets, shown: readonly (number | null)[]): [number, number] {
  const [low, high] = endsOf(buckets, () => true);
  const [lowest, highest] = endsOf(buckets, (index) => (buckets.healthy[index] ?? 0) > 0);
  const known = shown.filter((value): value is number => value !== null && value > 0 && Number.isFinite(value));
  const near = 10 ** MOST_DECADES_BEYOND;
  let [from, to] = logRange(Math.min(Math.max(low, lowest / near), ...known), Math.max(Math.min(high, highest * near), ...known));
  const missing = LEAST_DECADES - Math.log10(to / from);
  if (missing > 0) [from, to] = logRange(from / 10 ** (missing / 2), to * 10 ** (missing / 2));
  return [from, to];
}

/** The largest norm there may be beyond the axis; null where all are on it. */
export function beyond(buckets: Buckets, [, high]: readonly [number, number]): number | null {
  const largest = buckets.up_to.at(-1);
  if (largest === null) return LARGEST;
  return largest !== undefined && largest > high * (1 + 1e-9) ? largest : null;
}

function endsOf(buckets: Buckets, counts: (index: number) => boolean): [number, number] {
  const first = buckets.frames.findIndex((_, index) => counts(index));
  const last = buckets.frames.findLastIndex((_, index) => counts(index));
  if (first < 0) return counts(-1) ? [1, 1] : endsOf(buckets, () => true);
  return [Math.max(buckets.above[first] ?? 1, SMALLEST), buckets.up_to[last] ?? LARGEST];
}

/** Where a value stands on the axis, 0 at its left end and 1 at its right one. */
export function placeOf(value: number, [low, high]: readonly [number, number]): number {
  return Math.log(value / low) / Math.log(high / low);
}

export function valueAt(place: number, [low, high]: readonly [number, number]): number {
  return low * (high / low) ** clamp(place, 0, 1);
}

/** Frames by column. A bucket that reaches over several columns is divided among them, as if its norms lay evenly; what
 * lies beyond the axis stands in the column at its end. */
export function columnsOf(buckets: Buckets, axis: readonly [number, number], count: number): Columns {
  const columns: Columns = { frames: Array<number>(count).fill(0), healthy: Array<number>(count).fill(0) };
  buckets.frames.forEach((frames, index) => {
    const from = clamp(placeOf(Math.max(buckets.above[index] ?? 0, SMALLEST), axis) * count, 0, count - 1e-3);
    const to = clamp(placeOf(buckets.up_to[index] ?? LARGEST, axis) * count, from + 1e-3, count);
    const [first, last] = [Math.floor(from), Math.ceil(to) - 1];
    for (let column = first; column <= last; column++) {
      const share = (Math.min(to, column + 1) - Math.max(from, column)) / (to - from);
      columns.frames[column] = (columns.frames[column] ?? 0) + share * frames;
      columns.healthy[column] = (columns.healthy[column] ?? 0) + share * (buckets.healthy[index] ?? 0);
    }
  });
  return columns;
}

/** How high a column is, in [0, 1]: by the logarithm, so that the one explosion among thousands of frames is seen. */
export function heightOf(frames: number, most: number): number {
  return frames <= 0 ? 0 : Math.max(0.02, Math.log1p(frames) / Math.log1p(Math.max(most, 1)));
}

/** All columns as one path in a box of ``width`` and ``height``, a gap of one pixel between them. */
export function pathOf(frames: readonly number[], most: number, width: number, height: number): string {
  const step = width / frames.length;
  return frames
    .map((count, index) => (count < 1e-6 ? "" : `M${round(index * step)} ${height}v${round(-height * heightOf(count, most))}h${round(Math.max(step - 1, 0.5))}V${height}z`))
    .join("");
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
