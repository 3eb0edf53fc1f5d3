/** Which of the compared runs are the same training from other seeds. Pure: nothing is guessed from how they went.
 *
 * A run takes part if it says a seed (in its configuration or a tag) or names its group. Those that agree in project, group,
 * threshold, other tags and the rest of their configuration belong together.
 */
import { flatten } from "../config";
import { formatNumber } from "../format";
import type { RunDetail } from "../model";
import { strings } from "../strings";
import { toFinite } from "../wire";

export type Seeded = Pick<RunDetail, "name" | "project" | "group" | "tags" | "config" | "max_norm">;

export interface SeedGroup {
  label: string;
  /** Which of the runs, by their place. */
  members: number[];
}

const SEED_KEY = /(^|[^a-z])(seed|random_?state|rng)s?([^a-z]|$)|Seed$/;
const SEED_TAG = /^(random[-_ ]?)?seed\W?\d+$/i;
const SEED_IN_NAME = /[\s,;:/|([_-]*\b(random[-_ ]?)?seed[\s:=#_-]*\d+\)?\]?/i;

/** The groups of at least two, in the order of their first run. */
export function seedGroups(runs: readonly Seeded[]): SeedGroup[] {
  const found = new Map<string, number[]>();
  runs.forEach((run, index) => {
    const identity = identityOf(run);
    if (identity !== null) found.set(identity, [...(found.get(identity) ?? []), index]);
  });
  const groups = [...found.values()].filter((members) => members.length > 1);
  const labels = labelsOf(groups.map((members) => members.flatMap((index) => runs[index] ?? [])));
  return groups.map((members, index) => ({ label: labels[index] ?? "", members }));
}

/** For each run the number of its group, null for one that stands alone. */
export function groupOfEach(count: number, groups: readonly SeedGroup[]): (number | null)[] {
  const each = new Array<number | null>(count).fill(null);
  groups.forEach(({ members }, group) => members.forEach((run) => (each[run] = group)));
  return each;
}

function identityOf(run: Seeded): string | null {
  const config = flatten(run.config);
  const rest = config.filter(([key]) => !SEED_KEY.test(key.split(".").at(-1) ?? key));
  const tags = run.tags.filter((tag) => !SEED_TAG.test(tag));
  const saysSeed = rest.length < config.length || tags.length < run.tags.length;
  if (!saysSeed && run.group === null) return null;
  return JSON.stringify([run.project, run.group, toFinite(run.max_norm), tags.sort(), rest.sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** A name for each group that tells it from the others: what its runs' names share, else its threshold, else its group. */
function labelsOf(groups: readonly Seeded[][]): string[] {
  const ways = [nameWithoutSeed, thresholdOf, (runs: Seeded[]) => runs[0]?.group ?? null];
  for (const way of ways) {
    const labels = groups.map(way);
    if (labels.every((label) => label !== null && label !== "") && new Set(labels).size === labels.length) return labels as string[];
  }
  return groups.map((runs) => strings.compare.groupOf(runs[0]?.name ?? "", runs.length - 1));
}

function nameWithoutSeed(runs: Seeded[]): string | null {
  const names = new Set(runs.map((run) => run.name.replace(SEED_IN_NAME, "").trim()));
  return names.size === 1 ? ([...names][0] ?? null) : null;
}

function thresholdOf(runs: Seeded[]): string {
  const limit = toFinite(runs[0]?.max_norm);
  return limit === null ? strings.compare.notClipped : strings.compare.clippedAt(formatNumber(limit));
}
