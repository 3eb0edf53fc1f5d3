/** Addresses and views, one to one: whatever a view shows can be sent to somebody as its address. */

import type { Health } from "./model";

export type Route =
  | { view: "overview"; q: string; health: Health | null }
  | { view: "run"; id: string; from: number | null; to: number | null; monitor: string | null }
  | ({ view: "compare"; runs: string[] } & CompareLook)
  | { view: "login" }
  | { view: "not_found"; path: string };

/** What the runs of a comparison are laid along: steps, time since each one's start, the time of day, steps around each one's first event. */
export const COMPARE_BY = ["step", "elapsed", "time", "event"] as const;
export type CompareBy = (typeof COMPARE_BY)[number];

/** What a person chose to see of a comparison. */
export interface CompareLook {
  by: CompareBy;
  /** The range shown, in steps or seconds as ``by`` says. */
  from: number | null;
  to: number | null;
  /** Empty: the usual ones. */
  metrics: string[];
  /** Runs that are not drawn. */
  hidden: string[];
  /** Draw each group of seeds as its median and range. */
  bands: boolean;
  /** Show also what all runs have in common. */
  everything: boolean;
}

export const COMPARE_LIMIT = 12;
export const HEALTHS: readonly Health[] = ["critical", "warning", "healthy", "not_measurable", "unknown"];

export function parseRoute(path: string, search: string): Route {
  const query = new URLSearchParams(search);
  if (path === "/") return { view: "overview", q: query.get("q") ?? "", health: parseHealth(query.get("health")) };
  if (path === "/compare") return { view: "compare", ...parseCompare(query) };
  if (path === "/login") return { view: "login" };
  const id = /^\/runs\/([^/]+)\/?$/.exec(path)?.[1];
  if (id === undefined) return { view: "not_found", path };
  return {
    view: "run",
    id: decode(id),
    from: parseStep(query.get("from")),
    to: parseStep(query.get("to")),
    monitor: query.get("monitor"),
  };
}

export function overviewPath(q: string, health: Health | null): string {
  return withQuery("/", { q: q || null, health });
}

export function runPath(id: string, range: { from?: number | null; to?: number | null; monitor?: string | null } = {}): string {
  return withQuery(`/runs/${encodeURIComponent(id)}`, {
    from: range.from?.toString() ?? null,
    to: range.to?.toString() ?? null,
    monitor: range.monitor ?? null,
  });
}

/** A run with a minus before it is not drawn. */
export function comparePath(runs: readonly string[], look: Partial<CompareLook> = {}): string {
  const hidden = new Set(look.hidden);
  const query = new URLSearchParams();
  if (look.by !== undefined && look.by !== "step") query.set("by", look.by);
  if (look.from != null && look.to != null) (query.set("from", String(look.from)), query.set("to", String(look.to)));
  for (const metric of look.metrics ?? []) query.append("metric", metric);
  if (look.bands) query.set("seeds", "band");
  if (look.everything) query.set("config", "all");
  const chosen = runs.map((id) => `${hidden.has(id) ? "-" : ""}${encodeURIComponent(id)}`).join(",");
  return `/compare?runs=${chosen}${query.size === 0 ? "" : `&${query}`}`;
}

/** Run ids are UUIDs; anything else is known to lead nowhere without asking. */
export function isRunId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/** Only addresses of the web may become links: a run's owner writes them, and "javascript:" is one too. */
export function safeLink(address: unknown): string | null {
  if (typeof address !== "string") return null;
  try {
    const { protocol, href } = new URL(address);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    return null;
  }
}

function withQuery(path: string, values: Record<string, string | null>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== null) query.set(name, value);
  return query.size === 0 ? path : `${path}?${query}`;
}

function parseHealth(text: string | null): Health | null {
  return HEALTHS.find((health) => health === text) ?? null;
}

function parseCompare(query: URLSearchParams): { runs: string[] } & CompareLook {
  const words = (query.get("runs") ?? "").split(",").filter((word) => word !== "" && word !== "-");
  const runs = [...new Set(words.map((word) => word.replace(/^-/, "")))].slice(0, COMPARE_LIMIT);
  const [from, to] = [parsePlace(query.get("from")), parsePlace(query.get("to"))];
  const ordered = from !== null && to !== null && from < to;
  return {
    runs,
    hidden: runs.filter((id) => words.includes(`-${id}`)),
    by: COMPARE_BY.find((by) => by === query.get("by")) ?? "step",
    from: ordered ? from : null,
    to: ordered ? to : null,
    metrics: [...new Set(query.getAll("metric"))].filter((name) => name !== ""),
    bands: query.get("seeds") === "band",
    everything: query.get("config") === "all",
  };
}

function parseStep(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** Of an axis that may be time, and may lie before an event. */
function parsePlace(text: string | null): number | null {
  return text !== null && /^-?\d{1,15}(\.\d{1,3})?$/.test(text) ? Number(text) : null;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
