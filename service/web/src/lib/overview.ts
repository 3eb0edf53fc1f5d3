/** The list of runs under live updates: what needs a person is first, and otherwise nothing moves by itself. */
import type { Event, Health, RunLive, RunSummary } from "./model";
import { extendSparkline } from "./sparkline";

const URGENCY: Record<Health, number> = { critical: 0, warning: 1, not_measurable: 2, healthy: 2, unknown: 2 };

/** Runs a page: a screen of them and what one scrolls to before the next page is here. `public/early.js` asks for as many. */
export const RUNS_A_PAGE = 20;

/** Most urgent first; runs of equal urgency keep the order they had, so that rows do not change places under the mouse. */
export function arrange(runs: readonly RunSummary[], before: readonly RunSummary[] = []): RunSummary[] {
  const place = new Map(before.map((run, index) => [run.run_id, index]));
  const newFirst = -1;
  return runs
    .map((run, index) => ({ run, index, before: place.get(run.run_id) ?? newFirst }))
    .sort((a, b) => URGENCY[a.run.health] - URGENCY[b.run.health] || (before.length ? a.before - b.before : 0) || a.index - b.index)
    .map(({ run }) => run);
}

/** The list after its first page was read again: what else it held stays, unless it would have to be on that page. */
export function refresh(first: readonly RunSummary[], known: readonly RunSummary[], more: boolean): RunSummary[] {
  const last = first.at(-1);
  const there = new Set(first.map((run) => run.run_id));
  const rest = more && last !== undefined ? known.filter((run) => !there.has(run.run_id) && !isBefore(run, last)) : [];
  return arrange([...first, ...rest], known);
}

/** The same rows with what is new in them, each where it was: for as long as somebody points at one. */
export function inPlace(runs: readonly RunSummary[], shown: readonly RunSummary[]): RunSummary[] {
  const newest = new Map(runs.map((run) => [run.run_id, run]));
  return shown.map((run) => newest.get(run.run_id) ?? run);
}

/** One run as a live update tells it. Null when the run is not in the list: then it must be asked for. */
export function applyRun(runs: readonly RunSummary[], update: RunLive): RunSummary[] | null {
  const index = runs.findIndex((run) => run.run_id === update.run_id);
  const known = runs[index];
  if (known === undefined) return null;
  const changed = [...runs];
  changed[index] = { ...known, ...update, sparkline: extendSparkline(known.sparkline, update) };
  return known.health === update.health ? changed : arrange(changed, changed);
}

/** Whether an event is not yet among these, or not in this revision. */
export function isNews(events: readonly Event[], update: Event): boolean {
  return !events.some((event) => event.event_id === update.event_id && event.revision >= update.revision);
}

/** Newest events first, each once, in its newest revision. */
export function applyEvent<E extends Event>(events: readonly E[], update: E, limit: number): E[] {
  if (!isNews(events, update)) return [...events];
  const known = events.find((event) => event.event_id === update.event_id);
  if (known !== undefined) return events.map((event) => (event === known ? update : event));
  return [update, ...events].slice(0, limit);
}

/** The service's order: by urgency, then by who was heard of last. */
function isBefore(run: RunSummary, last: RunSummary): boolean {
  const more = URGENCY[run.health] - URGENCY[last.health];
  return more < 0 || (more === 0 && run.last_seen_at > last.last_seen_at);
}
