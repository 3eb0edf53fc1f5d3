/** What sets the runs' configurations apart: one row a key, one value a run. Pure. */
import { flatten } from "../config";

export interface DifferenceRow {
  key: string;
  /** A run's value as text; null where it has no such key. */
  values: (string | null)[];
  /** True where the runs are not all alike. */
  differs: boolean;
  /** For each run whether its value is another than most have. */
  unusual: boolean[];
}

/** The keys in the order in which they first come. */
export function differences(configs: readonly Record<string, unknown>[]): DifferenceRow[] {
  const flat = configs.map((config) => new Map(flatten(config)));
  const keys = [...new Set(flat.flatMap((config) => [...config.keys()]))];
  return keys.map((key) => rowOf(key, flat.map((config) => config.get(key) ?? null)));
}

export function rowOf(key: string, values: (string | null)[]): DifferenceRow {
  const counts = new Map<string | null, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const differs = counts.size > 1;
  const most = Math.max(...counts.values());
  const usual = most > values.length / 2 ? [...counts].find(([, count]) => count === most) : undefined;
  return { key, values, differs, unusual: values.map((value) => usual !== undefined && usual[0] !== value) };
}
