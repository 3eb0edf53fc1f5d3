/** What a chart draws, as the rows of a table and of a CSV file. Pure. */
import type { Cell } from "../csv";
import type { Line } from "./lines";

export interface ChartRow {
  /** The first and the last step it stands for. */
  from: number;
  to: number;
  values: { low: number | null; high: number | null; nonFinite: number }[];
}

/** The points in a range, several to a row where there are more than ``most``: then from the lowest to the highest. */
export function rowsOf(step: readonly number[], lines: readonly Line[], range: readonly [number, number] | null, most = Infinity): ChartRow[] {
  const [first, end] = within(step, range);
  const each = Math.max(1, Math.ceil((end - first) / most));
  const rows: ChartRow[] = [];
  for (let at = first; at < end; at += each) {
    const stop = Math.min(end, at + each);
    rows.push({ from: step[at] ?? 0, to: step[stop - 1] ?? 0, values: lines.map((line) => summarise(line, at, stop)) });
  }
  return rows;
}

/** The same without loss: every point and every digit. A band has its lowest and its highest value. */
export function cellsOf(step: readonly number[], lines: readonly Line[], range: readonly [number, number] | null, words: { step: string; min: (label: string) => string; max: (label: string) => string; nonFinite: (label: string) => string }): Cell[][] {
  const head = lines.flatMap((line) => [
    ...(isBand(line) ? [words.min(line.label), words.max(line.label)] : [line.label]),
    ...(line.nonFinite ? [words.nonFinite(line.label)] : []),
  ]);
  const rows = rowsOf(step, lines, range).map((row) => [
    row.from,
    ...row.values.flatMap(({ low, high, nonFinite }, index) => {
      const line = lines[index];
      return [...(line && isBand(line) ? [low, high] : [high]), ...(line?.nonFinite ? [nonFinite] : [])];
    }),
  ]);
  return [[words.step, ...head], ...rows];
}

function isBand(line: Line): boolean {
  return line.low !== undefined;
}

function within(step: readonly number[], range: readonly [number, number] | null): [first: number, end: number] {
  if (range === null) return [0, step.length];
  const first = step.findIndex((value) => value >= range[0]);
  return first < 0 ? [0, 0] : [first, step.findLastIndex((value) => value <= range[1]) + 1];
}

function summarise(line: Line, from: number, end: number): ChartRow["values"][number] {
  let [low, high, nonFinite]: [number | null, number | null, number] = [null, null, 0];
  for (let at = from; at < end; at++) {
    const [bottom, top] = [(line.low ?? line.high)[at], line.high[at]];
    if (bottom != null) low = low === null ? bottom : Math.min(low, bottom);
    if (top != null) high = high === null ? top : Math.max(high, top);
    nonFinite += line.nonFinite?.[at] ?? 0;
  }
  return { low, high, nonFinite };
}
