/** What a cell and the whole map say in words: on hover, to a screen reader, in a table. Pure. */
import type { Cell } from "../csv";
import { formatNumber } from "../format";
import { strings } from "../strings";
import type { HeatColumns } from "./columns";
import { rowReader, type Row, type RowCells } from "./rows";

const words = strings.heatMap;

export interface CellWords {
  name: string;
  steps: string;
  value: string;
  bad: boolean;
}

export function cellWords(columns: HeatColumns, row: Row, cells: RowCells, column: number, lastStep: number | null): CellWords {
  const name = row.group ? words.module(row.name, row.layers.length) : row.name;
  const first = columns.step[column] ?? 0;
  const next = columns.step[column + 1];
  const last = columns.bucket === 1 ? first : next !== undefined ? next - 1 : Math.max(first, lastStep ?? first);
  return { name, steps: words.cellSteps(first, last), value: cellValue(columns, row, cells, column), bad: (cells.counts?.[column] ?? 0) > 0 };
}

export function cellValue(columns: HeatColumns, row: Row, { values, counts }: RowCells, column: number): string {
  const value = values[column] ?? NaN;
  const bad = counts?.[column] ?? 0;
  if (bad > 0) return words.cellBad(bad, Number.isNaN(value) ? null : formatNumber(value));
  if (Number.isNaN(value)) return words.absent;
  if (value === 0) return words.cellZero;
  // the largest norms of a module's layers need not be of one step
  return row.group && columns.bucket > 1 ? words.atMost(formatNumber(value)) : formatNumber(value);
}

/** What is drawn, for a file: a line a row, a column a step. A cell in which a norm was not finite says so. */
export function cellsForFile(columns: HeatColumns, rows: readonly Row[]): Cell[][] {
  const read = rowReader(columns);
  const lines = rows.map((row): Cell[] => {
    const { values, counts } = read(row);
    return [row.name, ...columns.step.map((_, at) => ((counts?.[at] ?? 0) > 0 ? "NaN" : Number.isNaN(values[at]) ? null : (values[at] ?? null)))];
  });
  return [[words.dataLayer, ...columns.step], ...lines];
}

/** The map in a sentence: how many layers, which were not finite, where the norm is largest. */
export function mapWords(columns: HeatColumns, rows: readonly Row[]): string {
  const cells = rowReader(columns);
  const layers = rows.filter((row) => !row.group);
  let [most, worst]: [number, string | null] = [0, null];
  const bad: string[] = [];
  for (const row of layers) {
    const { values, counts } = cells(row);
    for (const value of values) if (value > most) [most, worst] = [value, row.name];
    if (counts?.some((count) => count > 0)) bad.push(row.name);
  }
  return words.summary(layers.length, worst) + (bad[0] === undefined ? "" : words.summaryBad(bad.length, bad[0]));
}
