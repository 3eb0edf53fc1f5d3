/** How far a run's frames have come: its launches in order, and in words what waits on machines and what was lost. */
import type { Attempt, Gap, RunDetail } from "./model";
import { strings } from "./strings";

const words = strings.delivery;
const KEPT_NO_LONGER = "retention"; // the reason of gaps of frames that did arrive
const SILENT_AFTER = 30_000; // milliseconds, as the service says of runs
const GRAVITY = ["failed", "unreachable", "running", "paused", "finished"];

export interface Counts {
  /** Made so far, as the clients said last; lost ones included. */
  made: number;
  stored: number;
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
  const monitors = attempts.flatMap((attempt) => Object.values(attempt.monitors));
  const sum = (of: (monitor: (typeof monitors)[number]) => number): number => monitors.reduce((total, monitor) => total + of(monitor), 0);
  const [made, waiting, lost] = [sum(({ made }) => made), sum(({ spooled }) => spooled), sum(({ lost }) => lost)];
  return { made, stored: Math.max(0, made - waiting - lost), waiting, lost };
}

/** Whether all frames are here, in one or two sentences. */
export function describeDelivery(run: Pick<RunDetail, "attempts" | "frames" | "lost" | "state">, gaps: readonly Gap[]): string {
  const first = run.attempts.filter((attempt) => attempt.rank === 0);
  const waiting = waitingOf(run, first) + countsOf(run.attempts.filter((attempt) => attempt.rank !== 0)).waiting;
  const alive = run.state === "running" || run.state === "paused";
  const holder = first.findLast((attempt) => countsOf([attempt]).waiting > 0) ?? first.at(-1);
  const parts: string[] = [];
  if (waiting > 0) parts.push(alive ? words.onTheWay(waiting) : words.waits(waiting, holder?.host ?? null));
  if (run.lost > 0) parts.push(words.wereLost(run.lost, reasonsOf(gaps, run.lost)));
  if (parts.length > 0) return parts.join(" ");
  return run.frames === 0 ? words.none : words.arrived(run.frames);
}

/** What a client held back when it said so last, less what has arrived since. */
function waitingOf(run: Pick<RunDetail, "frames" | "lost">, first: readonly Attempt[]): number {
  const { made, waiting } = countsOf(first);
  return Math.max(0, Math.min(waiting, made - run.frames - run.lost));
}

/** Why frames were lost, the most frequent reason first; counted where the gaps known here are all there are. */
function reasonsOf(gaps: readonly Gap[], lost: number): string {
  const counts = new Map<string, number>();
  for (const { reason, n } of gaps) if (reason !== KEPT_NO_LONGER) counts.set(reason, (counts.get(reason) ?? 0) + n);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const all = sorted.reduce((total, [, n]) => total + n, 0) === lost;
  return sorted.map(([reason, n]) => words.because(Object.hasOwn(words.reasons, reason) ? (words.reasons[reason] ?? reason) : reason, all && sorted.length > 1 ? n : null)).join("; ");
}
