/** What a layer's row says of its way: its usual norm, how far from it the newest is, and since when it is dead. Pure. */
import type { RowCells } from "./rows";

export interface Trend {
  /** The median over all columns. */
  usual: number | null;
  /** The newest norm in units of the usual one. */
  times: number | null;
  /** The column since which the gradient is zero at every step. */
  deadSince: number | null;
  /** A few points of the way for a small line: the largest norm of each stretch, null without one. */
  line: (number | null)[];
}

const POINTS = 24;

export function trendOf({ values, counts }: RowCells, newest: number | null): Trend {
  const finite = Array.from(values).filter((value) => !Number.isNaN(value));
  const usual = finite.sort((a, b) => a - b)[finite.length >> 1] ?? null;
  const measurable = usual !== null && usual > 0 && newest !== null && Number.isFinite(newest);
  return { usual, times: measurable ? newest / usual : null, deadSince: deadSince(values, counts), line: line(values) };
}

function deadSince(values: Float32Array, counts: Uint16Array | null): number | null {
  let first = values.length;
  while (first > 0 && values[first - 1] === 0 && (counts?.[first - 1] ?? 0) === 0) first--;
  return first < values.length ? first : null;
}

function line(values: Float32Array): (number | null)[] {
  const points = Math.min(POINTS, values.length);
  return Array.from({ length: points }, (_, point) => {
    const stretch = values.subarray(Math.floor((point * values.length) / points), Math.floor(((point + 1) * values.length) / points));
    return stretch.reduce<number | null>((most, value) => (Number.isNaN(value) || (most !== null && value <= most) ? most : value), null);
  });
}
