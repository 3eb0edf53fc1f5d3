/** Several runs on one axis. uPlot wants one x column, so the runs' places are united, and where that would be more than
 * a screen can show, neighbours are merged; no spike is lost by that. */
import type { Column } from "./lines";

const MOST_PLACES = 1500;

/** How the buckets of a run that come together are made one. */
export type Merge = "min" | "max" | "mean" | "sum";

export interface Alignment {
  /** Where the runs' buckets begin, in order. */
  x: number[];

  /** Spread a run's column over the places: undefined where only other runs have one, so that its line goes on; null
   * where nothing was measured, and before its first and after its last place. */
  spread: (run: number, column: Column, merge: Merge) => (number | null | undefined)[];
}

/** ``places``: for each run where its buckets lie; null is nowhere. */
export function align(places: readonly (readonly (number | null)[])[], most = MOST_PLACES): Alignment {
  const x = thinned([...new Set(places.flat())].filter((place) => place !== null).sort((a, b) => a - b), most);
  const slots = places.map((run) => run.map((place) => (place === null ? -1 : slotOf(x, place))));
  return { x, spread: (run, column, merge) => spread(slots[run] ?? [], x.length, column, merge) };
}

/** The last place at or before ``index`` that is the line's own: what it shows while another run's step is pointed at. */
export function heldAt(column: Column, index: number): number {
  let at = index;
  while (at > 0 && column[at] === undefined) at--;
  return at;
}

function thinned(places: number[], most: number): number[] {
  if (places.length <= most) return places;
  const width = ((places.at(-1) ?? 0) - (places[0] ?? 0)) / most;
  const kept: number[] = [];
  for (const place of places) if (kept.length === 0 || place >= (kept.at(-1) ?? 0) + width) kept.push(place);
  return kept;
}

function slotOf(x: readonly number[], place: number): number {
  let [low, high] = [0, x.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((x[middle] ?? 0) <= place) low = middle;
    else high = middle - 1;
  }
  return low;
}

function spread(slots: readonly number[], count: number, column: Column, merge: Merge): (number | null | undefined)[] {
  const own = slots.filter((slot) => slot >= 0);
  const [first, last] = [Math.min(...own), Math.max(...own)];
  const merged = Array.from({ length: count }, (_, slot): number | null | undefined => (slot < first || slot > last ? null : undefined));
  const together = new Array<number>(count).fill(0);
  slots.forEach((slot, index) => {
    if (slot < 0) return;
    const value = column[index] ?? null;
    const before = merged[slot];
    if (value === null) merged[slot] = before ?? null;
    else {
      const known = together[slot] ?? 0;
      merged[slot] = known === 0 || before == null ? value : combine(before, value, known, merge);
      together[slot] = known + 1;
    }
  });
  return merged;
}

function combine(before: number, value: number, known: number, merge: Merge): number {
  if (merge === "min") return Math.min(before, value);
  if (merge === "max") return Math.max(before, value);
  return merge === "sum" ? before + value : before + (value - before) / (known + 1);
}
