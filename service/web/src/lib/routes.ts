/** Addresses and views, one to one: whatever a view shows can be sent to somebody as its address. */
import { choiceQuery, parseChoice, type Choice } from "./choice";
import { ROW_SIZES, type RowSize } from "./heatmap/place";
import { SORT_KEYS, USUAL_SORT, type SortOrder } from "./heatmap/table";
import { inboxQuery, parseInbox, type InboxFilter } from "./inbox";
import type { Event } from "./model";

export type Route =
  /** ``all``: everything is meant, and not what the person saved. */
  | { view: "overview"; choice: Choice; all: boolean }
  | RunRoute
  | { view: "inbox"; filter: InboxFilter }
  | ({ view: "compare"; runs: string[] } & CompareLook)
  | { view: "login" }
  | { view: "not_found"; path: string };

export interface RunRoute {
  view: "run";
  id: string;
  from: number | null;
  to: number | null;
  monitor: string | null;
  /** The event whose evidence is open. */
  event: string | null;
  /** The scalars that are shown; null: the first few. */
  scalars: string[] | null;
  layers: LayerChoice;
  /** The threshold that is looked at; null: the run's own or the suggested one. */
  maxNorm: number | null;
}

/** What a person chose among a run's layers. */
export interface LayerChoice {
  /** The one whose series is shown. */
  layer: string | null;
  find: string;
  /** Whether modules are rows of the heat map. */
  byModule: boolean;
  /** How high its rows are; null: as suits their number. */
  size: RowSize | null;
  /** The order of the layer table. */
  sort: SortOrder;
}

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
const MOMENT_MARGIN = 60;

export function parseRoute(path: string, search: string): Route {
  const query = new URLSearchParams(search);
  if (path === "/") return { view: "overview", choice: parseChoice(query), all: query.has("all") };
  if (path === "/compare") return { view: "compare", ...parseCompare(query) };
  if (path === "/events") return { view: "inbox", filter: parseInbox(query) };
  if (path === "/login") return { view: "login" };
  const id = /^\/runs\/([^/]+)\/?$/.exec(path)?.[1];
  if (id === undefined) return { view: "not_found", path };
  return {
    view: "run",
    id: decode(id),
    from: parseStep(query.get("from")),
    to: parseStep(query.get("to")),
    monitor: query.get("monitor"),
    event: query.get("event"),
    scalars: query.has("scalar") ? query.getAll("scalar").filter((name) => name !== "") : null,
    layers: {
      layer: query.get("layer"),
      find: query.get("find") ?? "",
      byModule: query.get("by") === "module",
      size: ROW_SIZES.find((size) => size === query.get("rows")) ?? null,
      sort: parseSort(query.get("sort")),
    },
    maxNorm: parsePositive(query.get("max_norm")),
  };
}

/** ``all`` tells everything from what the person saved. */
export function overviewPath(choice: Choice, all = false): string {
  const path = withQuery("/", choiceQuery(choice));
  return all && path === "/" ? "/?all=1" : path;
}

export function runPath(id: string, range: { from?: number | null; to?: number | null; monitor?: string | null; event?: string | null } = {}): string {
  return withQuery(`/runs/${encodeURIComponent(id)}`, {
    from: range.from?.toString() ?? null,
    to: range.to?.toString() ?? null,
    monitor: range.monitor ?? null,
    event: range.event ?? null,
  });
}

/** The moment of an event in its run: its steps and some before and after; with its evidence open where that is asked for. */
export function momentPath(event: Event, evidence = false): string {
  const [from, to] = [Math.max(0, event.start_step - MOMENT_MARGIN), (event.end_step ?? event.start_step) + MOMENT_MARGIN];
  return runPath(event.run_id, { from, to, event: evidence ? event.event_id : null });
}

export function inboxPath(filter: Partial<InboxFilter> = {}): string {
  return withQuery("/events", inboxQuery(filter));
}

/** The same address with other values in its query: null takes one out, a list says it several times, and an empty list
 * once without a value, which is not the same as not saying it. */
export function changed(path: string, search: string, values: Record<string, string | readonly string[] | null>): string {
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(values)) {
    query.delete(name);
    const list = value === null ? [] : typeof value === "string" ? [value] : value.length === 0 ? [""] : value;
    for (const each of list) query.append(name, each);
  }
  return query.size === 0 ? path : `${path}?${query}`;
}

/** The part of a run's address that says what was chosen among its layers. */
export function layerQuery({ layer, find, byModule, size, sort }: LayerChoice): Record<string, string | null> {
  const usual = sort.key === USUAL_SORT.key && sort.descending === USUAL_SORT.descending;
  return { layer, find: find || null, by: byModule ? "module" : null, rows: size, sort: usual ? null : `${sort.descending ? "-" : ""}${sort.key}` };
}

/** A column; with a minus before it the largest come first. */
function parseSort(word: string | null): SortOrder {
  const key = SORT_KEYS.find((key) => key === word?.replace(/^-/, ""));
  return key === undefined ? USUAL_SORT : { key, descending: word?.startsWith("-") ?? false };
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

function parsePositive(text: string | null): number | null {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : null;
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
