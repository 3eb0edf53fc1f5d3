/** Addresses and views, one to one: whatever a view shows can be sent to somebody as its address. */

import type { Health } from "./model";

export type Route =
  | { view: "overview"; q: string; health: Health | null }
  | { view: "run"; id: string; from: number | null; to: number | null; monitor: string | null; maxNorm: number | null }
  | { view: "compare"; runs: string[] }
  | { view: "login" }
  | { view: "not_found"; path: string };

export const COMPARE_LIMIT = 12;
export const HEALTHS: readonly Health[] = ["critical", "warning", "healthy", "not_measurable", "unknown"];

export function parseRoute(path: string, search: string): Route {
  const query = new URLSearchParams(search);
  if (path === "/") return { view: "overview", q: query.get("q") ?? "", health: parseHealth(query.get("health")) };
  if (path === "/compare") return { view: "compare", runs: parseRuns(query.get("runs")) };
  if (path === "/login") return { view: "login" };
  const id = /^\/runs\/([^/]+)\/?$/.exec(path)?.[1];
  if (id === undefined) return { view: "not_found", path };
  return {
    view: "run",
    id: decode(id),
    from: parseStep(query.get("from")),
    to: parseStep(query.get("to")),
    monitor: query.get("monitor"),
    maxNorm: parsePositive(query.get("max_norm")),
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

/** The same address with some of its values changed, and null ones taken out; what other parts of the view wrote stays. */
export function changedPath(path: string, search: string, changes: Record<string, string | null>): string {
  const kept = Object.fromEntries(new URLSearchParams(search));
  return withQuery(path, { ...kept, ...changes });
}

export function comparePath(runs: readonly string[]): string {
  return `/compare?runs=${runs.map(encodeURIComponent).join(",")}`;
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

function parseRuns(text: string | null): string[] {
  const runs = (text ?? "").split(",").filter((id) => id !== "");
  return [...new Set(runs)].slice(0, COMPARE_LIMIT);
}

function parseStep(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function parsePositive(text: string | null): number | null {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : null;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
