/** Which rows a heat map has: layers in the model's order or under their modules, those that a search finds. Pure. */
import type { HeatColumns } from "./columns";

export interface Row {
  name: string;
  /** The layers it stands for: one, or all of a module that match. */
  layers: readonly number[];
  /** A module's own row; its layers follow unless it is folded. */
  group: boolean;
  folded: boolean;
  /** A layer under its module. */
  inner: boolean;
}

/** One row's cells. */
export interface RowCells {
  values: Float32Array;
  counts: Uint16Array | null;
}

export interface RowChoice {
  find: string;
  byModule: boolean;
  folded: ReadonlySet<string>;
}

/** The module that owns a layer, from its name. */
export function moduleOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot < 0 ? name : name.slice(0, dot);
}

/** The part of a model a layer is in: its name as far as the first number, such as h.3, else its first word. */
export function blockOf(name: string): string {
  return /^.*?(?<![^.])\d+(?=\.)/.exec(name)?.[0] ?? name.slice(0, name.indexOf(".") < 0 ? undefined : name.indexOf("."));
}

/** What stands beside a low row, where few letters have room: where a block of the model begins, as an axis has ticks;
 * of a module its name, of a layer under it the last part. Null: nothing. */
export function gutterLabel(rows: readonly Row[], index: number, chosen: string | null): string | null {
  const row = rows[index];
  if (row === undefined) return null;
  if (row.group) return row.name;
  if (row.inner) return row.name.slice(row.name.lastIndexOf(".") + 1);
  if (row.name === chosen) return row.name.replace(/\.weight$/, "");
  const before = rows[index - 1];
  return before !== undefined && blockOf(before.name) === blockOf(row.name) ? null : blockOf(row.name);
}

/** The layers whose names contain what is searched for; every word of it, in any order. */
export function found(layers: readonly string[], find: string): number[] {
  const words = find.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return layers.flatMap((name, index) => (words.every((word) => name.toLowerCase().includes(word)) ? [index] : []));
}

export function rowsOf(layers: readonly string[], { find, byModule, folded }: RowChoice): Row[] {
  const wanted = found(layers, find);
  const one = (index: number, inner: boolean): Row => ({ name: layers[index] ?? "", layers: [index], group: false, folded: false, inner });
  if (!byModule) return wanted.map((index) => one(index, false));
  const modules = new Map<string, number[]>();
  for (const index of wanted) {
    const module = moduleOf(layers[index] ?? "");
    modules.set(module, [...(modules.get(module) ?? []), index]);
  }
  return [...modules].flatMap(([name, members]) => {
    const group: Row = { name, layers: members, group: true, folded: folded.has(name), inner: false };
    return group.folded ? [group] : [group, ...members.map((index) => one(index, true))];
  });
}

/** Reads rows out of the columns; what a module's row takes to compute is done once. */
export function rowReader(columns: HeatColumns): (row: Row) => RowCells {
  const width = columns.step.length;
  const known = new WeakMap<Row, RowCells>();
  return (row) => {
    const [first = 0] = row.layers;
    if (!row.group) return slice(columns, first, width);
    let cells = known.get(row);
    if (cells === undefined) known.set(row, (cells = together(columns, row.layers, width)));
    return cells;
  };
}

/** Reads single layers by name; null for a layer that there is not. */
export function layerReader(columns: HeatColumns): (name: string) => RowCells | null {
  const places = new Map(columns.layers.map((name, place) => [name, place]));
  return (name) => {
    const place = places.get(name);
    return place === undefined ? null : slice(columns, place, columns.step.length);
  };
}

function slice({ values, counts }: HeatColumns, layer: number, width: number): RowCells {
  const [from, to] = [layer * width, (layer + 1) * width];
  return { values: values.subarray(from, to), counts: counts?.subarray(from, to) ?? null };
}

/** The norm of several layers as one vector: the root of the sum of squares. Of largest norms it is what the norm of all
 * was at most, since the layers need not have been largest at one step. */
function together(columns: HeatColumns, layers: readonly number[], width: number): RowCells {
  const squares = new Float64Array(width).fill(NaN);
  const counts = columns.counts === null ? null : new Uint16Array(width);
  for (const layer of layers) {
    const cells = slice(columns, layer, width);
    for (let at = 0; at < width; at++) {
      const value = cells.values[at] ?? NaN;
      if (!Number.isNaN(value)) squares[at] = (Number.isNaN(squares[at] ?? NaN) ? 0 : (squares[at] ?? 0)) + value * value;
      if (counts !== null) counts[at] = Math.min(65_535, (counts[at] ?? 0) + (cells.counts?.[at] ?? 0));
    }
  }
  return { values: Float32Array.from(squares, Math.sqrt), counts };
}
