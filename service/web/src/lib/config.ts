/** A run's configuration and environment as lines of text: nested keys joined by dots, values as their JSON. */
import { formatNumber } from "./format";
import type { Attempt, RunDetail } from "./model";
import { strings } from "./strings";
import { toNumber } from "./wire";

const words = strings.run;

export function flatten(value: unknown, prefix = ""): [string, string][] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return [[prefix, typeof value === "string" ? value : JSON.stringify(value)]];
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return prefix === "" ? [] : [[prefix, "{}"]];
  return entries.flatMap(([key, inner]) => flatten(inner, prefix === "" ? key : `${prefix}.${key}`));
}

/** The lines that have the text in their key or value, in any case. */
export function matching(lines: readonly [string, string][], text: string): [string, string][] {
  const wanted = text.trim().toLowerCase();
  return lines.filter((line) => line.some((part) => part.toLowerCase().includes(wanted)));
}

/** Where and with what a run trains, as its newest attempt says, and how each of its optimizers clips. */
export function environmentOf(run: Pick<RunDetail, "versions" | "attempts">): [string, string][] {
  const newest = run.attempts.at(-1);
  const lines = flatten(run.versions);
  if (newest === undefined) return lines;
  const keys = words.environmentKeys;
  const ranks = run.attempts.filter(({ launch }) => launch === newest.launch);
  const hosts = [...new Set(ranks.map(({ host }) => host))].filter((host) => host !== "").sort();
  const monitors = Object.entries((ranks.find(({ rank }) => rank === 0) ?? newest).monitors);
  const name = (key: string, monitor: string): string => (monitors.length > 1 ? `${monitor}.${key}` : key);
  return [
    ...lines,
    ...(hosts.length === 0 ? [] : [[keys.host, hosts.join(", ")] as [string, string]]),
    ...(newest.world_size > 1 ? [[keys.ranks, String(newest.world_size)] as [string, string]] : []),
    ...monitors.flatMap(([monitor, how]): [string, string][] => [
      ...(how.optimizer === null ? [] : [[name(keys.optimizer, monitor), how.optimizer] as [string, string]]),
      [name(keys.clip, monitor), clipOf(how)],
    ]),
  ];
}

function clipOf({ max_norm, clip_value, norm_type }: Attempt["monitors"][string]): string {
  const [limit, value] = [toNumber(max_norm), toNumber(clip_value)];
  const parts = [
    ...(limit === null || limit === Infinity ? [] : [words.clipNorm(String(limit), formatNumber(toNumber(norm_type)))]),
    ...(value === null ? [] : [words.clipValue(String(value))]),
  ];
  return parts.length === 0 ? words.clipOff : parts.join(", ");
}
