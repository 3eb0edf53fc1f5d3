/** The rows of the layer table and their order. Pure. */
import type { LayerRow } from "../model";
import { toNumber } from "../wire";
import type { Trend } from "./trend";

export const SORT_KEYS = ["layer", "norm", "share", "ratio", "trend"] as const;
export type SortKey = (typeof SORT_KEYS)[number];

export interface SortOrder {
  key: SortKey;
  descending: boolean;
}

export interface TableRow {
  layer: LayerRow;
  /** Its place in the model's order. */
  place: number;
  norm: number | null;
  /** Norm of the gradient by that of the weights. */
  ratio: number | null;
}

export const USUAL_SORT: SortOrder = { key: "share", descending: true };
const DEAD_AFTER_FRAMES = 50;

export function tableRows(layers: readonly LayerRow[]): TableRow[] {
  return layers.map((layer, place) => {
    const norm = toNumber(layer.norm);
    const weights = layer.param_norm;
    return { layer, place, norm, ratio: norm === null || weights === null || weights === 0 ? null : norm / weights };
  });
}

/** In the order of a column. Where the largest come first, so does what is not finite: one looks here because of it. */
export function sorted(rows: readonly TableRow[], key: SortKey, descending: boolean, trend: (row: TableRow) => Trend | null): TableRow[] {
  const value = (row: TableRow): number => {
    if (key === "layer") return row.place;
    if (row.norm !== null && !Number.isFinite(row.norm)) return Infinity;
    const number = key === "norm" ? row.norm : key === "share" ? row.layer.share : key === "ratio" ? row.ratio : (trend(row)?.times ?? null);
    return number ?? -Infinity;
  };
  const keyed = rows.map((row) => ({ row, by: value(row) }));
  const sign = descending ? -1 : 1;
  return keyed.sort((a, b) => (a.by === b.by ? a.row.place - b.row.place : sign * (a.by < b.by ? -1 : 1))).map(({ row }) => row);
}

/** The step since which a trainable layer has received no gradient; null where it has, or not for long. */
export function deadSince({ layer }: TableRow, trend: Trend | null, step: readonly number[], bucket: number): number | null {
  const column = trend?.deadSince ?? null;
  if (!layer.trainable || column === null || (step.length - column) * bucket < DEAD_AFTER_FRAMES) return null;
  return step[column] ?? null;
}

/** A small line on a logarithmic scale, as the points of a path in a box; it breaks where nothing positive was measured. */
export function trendPath(line: readonly (number | null)[], width: number, height: number): string {
  const logs = line.map((value) => (value !== null && value > 0 ? Math.log(value) : null));
  const known = logs.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const y = (value: number): number => (high === low ? height / 2 : height - ((value - low) / (high - low)) * height);
  let path = "";
  logs.forEach((value, index) => {
    if (value === null) return;
    const joined = index > 0 && logs[index - 1] !== null;
    path += `${joined ? "L" : "M"}${((index / Math.max(1, line.length - 1)) * width).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return path;
}
