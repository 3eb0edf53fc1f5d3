/** How far a run's frames have come: its launches in order, and in words what waits on machines and what was lost. */
import type { Attempt, Gap, RunDetail } from "./model";
import { strings } from "./strings";

const words = strings.delivery;
const KEPT_NO_LONGER = "retention"; // the reason of gaps of frames that did arrive
const SILENT_AFTER = 30_000; // milliseconds, as the service says of runs
const GRAVITY = ["failed", "unreachable", "running", "paused", "finished"];

export interface Counts {
  stored: number;
  /** Held back by the client when it spoke last, and not here since. */
  waiting: number;
  lost: number;
}

/** Attempts that were started together: what people call "attempt 3". */
export interface Launch {
  number: number;
  id: string;
  ranks: Attempt[];
  counts: Counts;
  /** The largest among its ranks. */
  overhead: number | null;
}

/** The launches of a run, oldest first, each with its ranks in order. */
export function launchesOf(attempts: readonly Attempt[]): Launch[] {
  const found = new Map<string, Attempt[]>();
  for (const attempt of [...attempts].sort((a, b) => a.started_at.localeCompare(b.started_at))) {
    found.set(attempt.launch, [...(found.get(attempt.launch) ?? []), attempt]);
  }
  return [...found].map(([id, unordered], index) => {
    const ranks = unordered.sort((a, b) => a.rank - b.rank || a.started_at.localeCompare(b.started_at));
    const overheads = ranks.flatMap(({ overhead }) => (overhead === null ? [] : [overhead]));
    return { number: index + 1, id, ranks, counts: countsOf(ranks), overhead: overheads.length === 0 ? null : Math.max(...overheads) };
  });
}

/** What an attempt does. One that stopped talking never says its end: it is unreachable once others went on, or the run is. */
export function stateOf(attempt: Attempt, superseded: boolean, run: Pick<RunDetail, "state">, now: number): string {
  const lives = attempt.state === "running" || attempt.state === "paused";
  const silent = now - new Date(attempt.heartbeat_at).getTime() > SILENT_AFTER;
  return lives && silent && (superseded || run.state === "unreachable") ? "unreachable" : attempt.state;
}

/** The state to tell of many ranks: the gravest. */
export function gravest(states: readonly string[]): string {
  return [...states].sort((a, b) => GRAVITY.indexOf(a) - GRAVITY.indexOf(b))[0] ?? "";
}

export function countsOf(attempts: readonly Attempt[]): Counts {
  const sum = (of: (attempt: Attempt) => number): number => attempts.reduce((total, attempt) => total + of(attempt), 0);
  return { stored: sum(({ stored }) => stored), waiting: sum(waitingOf), lost: sum(({ lost }) => lost) };
}

function waitingOf({ monitors, stored, lost }: Attempt): number {
  const said = Object.values(monitors);
  const [made, spooled] = [said.reduce((total, { made }) => total + made, 0), said.reduce((total, { spooled }) => total + spooled, 0)];
  return Math.max(0, Math.min(spooled, made - stored - lost));
}

/** Whether all frames are here, in one or two sentences. */
export function describeDelivery(run: Pick<RunDetail, "attempts" | "frames" | "lost" | "state">, gaps: readonly Gap[]): string {
  const { waiting } = countsOf(run.attempts);
  const alive = run.state === "running" || run.state === "paused";
  const holder = run.attempts.findLast((attempt) => waitingOf(attempt) > 0);
  const parts: string[] = [];
  if (waiting > 0) parts.push(alive ? words.onTheWay(waiting) : words.waits(waiting, holder?.host ?? null));
  if (run.lost > 0) parts.push(words.wereLost(run.lost, reasonsOf(gaps, run.lost)));
  if (parts.length > 0) return parts.join(" ");
  return run.frames === 0 ? words.none : words.arrived(run.frames);
}

/** Why frames were lost, the most frequent reason first; counted where the gaps known here are all there are. */
function reasonsOf(gaps: readonly Gap[], lost: number): string {
  const counts = new Map<string, number>();
  for (const { reason, n } of gaps) if (reason !== KEPT_NO_LONGER) counts.set(reason, (counts.get(reason) ?? 0) + n);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const all = sorted.reduce((total, [, n]) => total + n, 0) === lost;
  return sorted.map(([reason, n]) => words.because(Object.hasOwn(words.reasons, reason) ? (words.reasons[reason] ?? reason) : reason, all && sorted.length > 1 ? n : null)).join("; ");
}
