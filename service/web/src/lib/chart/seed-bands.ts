/** What the seeds of one training have in common at each place: the least, the middle and the most of them. Pure. */
import type { Column } from "./lines";

type Values = (number | null)[];

/** Between a run's own places its last value holds; where it was not finite, or is not there, the others are counted. */
export function bandOf(columns: readonly Column[]): { low: Values; median: Values; high: Values } {
  const held = columns.map(hold);
  const [low, median, high]: [Values, Values, Values] = [[], [], []];
  for (let index = 0; index < (columns[0]?.length ?? 0); index++) {
    const values = held.flatMap((column) => column[index] ?? []).sort((a, b) => a - b);
    low.push(values[0] ?? null);
    median.push(middle(values));
    high.push(values.at(-1) ?? null);
  }
  return { low, median, high };
}

function hold(column: Column): Values {
  let last: number | null = null;
  return column.map((value) => (value === undefined ? last : (last = value)));
}

function middle(values: readonly number[]): number | null {
  const half = values.length >> 1;
  const [below, above] = [values[half - 1], values[half]];
  if (above === undefined) return null;
  return values.length % 2 === 1 || below === undefined ? above : (below + above) / 2;
}
