/** Where rows and columns lie in a heat map, and what lies under a point. Pure. */
import type { HeatColumns } from "./columns";

/** How rows are shown: each with its name over it, each a strip, or all of them at once in the room there is. */
export const ROW_SIZES = ["named", "compact", "all"] as const;
export type RowSize = (typeof ROW_SIZES)[number];

const HEIGHT = { named: 30, compact: 13 };
const FEW_ROWS = 14;
export const VIEWPORT = 416;

/** Few rows have room for their names. */
export function usualSize(rows: number): RowSize {
  return rows <= FEW_ROWS ? "named" : "compact";
}

export interface Layout {
  size: RowSize;
  rows: number;
  rowHeight: number;
  /** How much of it is in view at once. */
  viewport: number;
}

export function layoutOf(rows: number, size: RowSize): Layout {
  if (size === "all") return { size, rows, rowHeight: VIEWPORT / Math.max(1, rows), viewport: VIEWPORT };
  const rowHeight = HEIGHT[size];
  return { size, rows, rowHeight, viewport: Math.min(VIEWPORT, Math.max(1, rows) * rowHeight) };
}

/** The rows in view, the last one excluded. */
export function inView(layout: Layout, scrolled: number): [from: number, to: number] {
  const from = Math.max(0, Math.floor(scrolled / layout.rowHeight));
  return [from, Math.min(layout.rows, Math.ceil((scrolled + layout.viewport) / layout.rowHeight))];
}

/** The row at a height within the viewport; null below the last. */
export function rowAt(layout: Layout, scrolled: number, y: number): number | null {
  const row = Math.floor((scrolled + y) / layout.rowHeight);
  return y >= 0 && y < layout.viewport && row < layout.rows ? row : null;
}

/** How far to scroll so that a row is in view, no farther than it takes. */
export function scrollTo(layout: Layout, scrolled: number, row: number): number {
  const top = row * layout.rowHeight;
  return Math.max(Math.min(scrolled, top), top + layout.rowHeight - layout.viewport);
}

/** Where each column begins and the last one ends. A single step is drawn around its place, as a chart's point is. */
export function edgesOf({ step, bucket }: Pick<HeatColumns, "step" | "bucket">, lastStep: number | null): Float64Array {
  const edges = new Float64Array(step.length + 1);
  const shift = bucket === 1 ? 0.5 : 0;
  step.forEach((first, index) => (edges[index] = first - shift));
  const last = step.at(-1) ?? 0;
  const usual = step.length > 1 ? last - (step.at(-2) ?? 0) : bucket;
  edges[step.length] = (bucket === 1 ? last + 1 : Math.max(last + 1, Math.min(last + usual, (lastStep ?? Infinity) + 1))) - shift;
  return edges;
}

/** The column that holds a step; null outside. */
export function columnAt(edges: Float64Array, step: number): number | null {
  if (edges.length < 2 || step < (edges[0] ?? 0) || step >= (edges.at(-1) ?? 0)) return null;
  let [low, high] = [0, edges.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((edges[middle] ?? 0) <= step) low = middle;
    else high = middle;
  }
  return low;
}

/** For each pixel across, the columns it shows: [from, to]; -1 where there are none, or where frames are missing. */
export function pixelColumns(edges: Float64Array, gaps: HeatColumns["gaps"], range: [number, number], width: number): Int32Array {
  const spans = new Int32Array(2 * width).fill(-1);
  const perPixel = (range[1] - range[0]) / width;
  const shift = Number.isInteger(edges[0] ?? 0) ? 0 : 0.5; // as edgesOf has it
  const missing = gaps.flatMap(({ first_step: first, last_step: last }) => (first === null || last === null ? [] : [[first - shift, last + 1 - shift] as const]));
  const end = (edges.at(-1) ?? 0) - 1e-9;
  for (let x = 0; x < width; x++) {
    const [left, right] = [range[0] + x * perPixel, range[0] + (x + 1) * perPixel];
    if (missing.some(([from, to]) => left >= from && right <= to)) continue;
    const [from, to] = [columnAt(edges, Math.max(left, edges[0] ?? 0)), columnAt(edges, Math.min(right - 1e-9 * perPixel, end))];
    if (from === null || to === null || right <= (edges[0] ?? 0) || to < from) continue;
    spans[2 * x] = from;
    spans[2 * x + 1] = to;
  }
  return spans;
}
