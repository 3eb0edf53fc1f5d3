/** From norms to places on a logarithmic colour scale, and to what a cell shows. Pure. */
import { logRange } from "../ticks";
import { ABSENT, LEVELS, LOWEST, NON_FINITE, ZERO } from "./colours";
import type { RowCells } from "./rows";

export interface Scale {
  low: number;
  high: number;
  /** Norms lie below or above what the colours tell apart. */
  below: boolean;
  above: boolean;
}

const SAMPLES = 20_000;
const DECADES_FROM_USUAL = 6;

/** A scale for norms: all of them, but no more than some decades around the median. A run that ends at 1e20 would otherwise
 * be of one colour until it does. Null: nothing positive was measured. */
export function scaleOf(values: Float32Array): Scale | null {
  let [least, most] = [Infinity, 0];
  for (const value of values) {
    if (value > 0 && value < least) least = value;
    if (value > most && value < Infinity) most = value;
  }
  if (most === 0) return null;
  const stride = Math.max(1, Math.floor(values.length / SAMPLES));
  const sample: number[] = [];
  for (let at = 0; at < values.length; at += stride) if ((values[at] ?? 0) > 0) sample.push(values[at] ?? 0);
  sample.sort((a, b) => a - b);
  const median = sample[sample.length >> 1] ?? most;
  const [floor, ceiling] = [median / 10 ** DECADES_FROM_USUAL, median * 10 ** DECADES_FROM_USUAL];
  const [low, high] = logRange(Math.max(least, floor), Math.min(most, ceiling));
  return { low, high, below: least < low, above: most > high };
}

/** Where a norm lies on the scale, from 0 to 1. */
export function placeOn({ low, high }: Scale, value: number): number {
  return Math.min(1, Math.max(0, Math.log(value / low) / Math.log(high / low)));
}

/** What each column of some rows together shows, into ``ranks``: a spike or a non-finite norm of any of them wins. */
export function rank(rows: readonly RowCells[], scale: Scale | null, ranks: Uint16Array): Uint16Array {
  const [base, factor] = scale === null ? [0, 0] : [Math.log(scale.low), (LEVELS - 1) / Math.log(scale.high / scale.low)];
  for (let at = 0; at < ranks.length; at++) {
    let most = -1;
    let bad = false;
    for (const { values, counts } of rows) {
      const value = values[at] ?? NaN;
      if (value > most) most = value;
      if (counts !== null && (counts[at] ?? 0) > 0) bad = true;
    }
    if (bad) ranks[at] = NON_FINITE;
    else if (most < 0) ranks[at] = ABSENT;
    else if (most === 0) ranks[at] = ZERO;
    else ranks[at] = LOWEST + Math.round(Math.min(LEVELS - 1, Math.max(0, (Math.log(most) - base) * factor)));
  }
  return ranks;
}
