/** What a layer's row says of its way: its usual norm, how far from it the newest is, since when it is dead. Pure. */
import type { RowCells } from "./rows";

export interface Trend {
  /** The median over all columns. */
  usual: number | null;
  /** The newest column in units of the usual one: largest norms both, so that like is compared with like. */
  times: number | null;
  /** The column since which the gradient is zero at every step. */
  deadSince: number | null;
}

const POINTS = 24;

export function trendOf({ values, counts }: RowCells): Trend {
  const ordered = values.slice().sort(); // those that are NaN come last
  let finite = ordered.length;
  while (finite > 0 && Number.isNaN(ordered[finite - 1])) finite--;
  const usual = finite === 0 ? null : (ordered[finite >> 1] ?? null);
  const newest = values.at(-1) ?? NaN;
  const measurable = usual !== null && usual > 0 && !Number.isNaN(newest) && (counts?.at(-1) ?? 0) === 0;
  return { usual, times: measurable ? newest / usual : null, deadSince: deadSince(values, counts) };
}

function deadSince(values: Float32Array, counts: Uint16Array | null): number | null {
  let first = values.length;
  while (first > 0 && values[first - 1] === 0 && (counts?.[first - 1] ?? 0) === 0) first--;
  return first < values.length ? first : null;
}

/** A few points of a row's way for a small line: the largest norm of each stretch, null without one. */
export function wayOf({ values }: RowCells): (number | null)[] {
  const points = Math.min(POINTS, values.length);
  return Array.from({ length: points }, (_, point) => {
    let most: number | null = null;
    const end = Math.floor(((point + 1) * values.length) / points);
    for (let at = Math.floor((point * values.length) / points); at < end; at++) {
      const value = values[at] ?? NaN;
      if (!Number.isNaN(value) && (most === null || value > most)) most = value;
    }
    return most;
  });
}
