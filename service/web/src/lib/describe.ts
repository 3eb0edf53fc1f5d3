/** A run's condition in one sentence, for people: what happened, when, how bad, where it began. */
import type { Event, RunDetail, RunLive } from "./model";
import { strings } from "./strings";
import { toFinite, toNumber } from "./wire";

const { story } = strings;
const GRAVITY: Record<string, number> = { explosion: 0, non_finite: 1, vanishing: 2, instability: 3, clip_saturation: 4 };
const LAYERS_NAMED = 2;

/** The status line of a run. ``events`` are all events of the run; open ones decide, resolved ones are mentioned. */
export function describeRun(run: RunLive, events: readonly Event[]): string {
  if (run.health === "unknown") return story.unknown;
  if (run.health === "not_measurable") return story.notMeasurable;
  const open = events.filter((event) => event.status === "open" && event.severity !== "info");
  const worst = worstOf(open);
  const parts = worst === null ? describeWell(run, events) : describeTrouble(worst, open);
  return sentence([...parts, ...describeState(run)]);
}

/** The event to speak of first: the most severe, then the kind that explains the others, then the oldest. */
export function worstOf(events: readonly Event[]): Event | null {
  const severity = { critical: 0, warning: 1, info: 2 };
  const order = (event: Event): number => severity[event.severity] * 1e3 + (GRAVITY[event.kind] ?? 9);
  return [...events].sort((a, b) => order(a) - order(b) || a.start_step - b.start_step)[0] ?? null;
}

/** The oldest event that is more than information. */
export function firstEvent(events: readonly Event[]): Event | null {
  const told = events.filter((event) => event.severity !== "info");
  return told.sort((a, b) => a.start_step - b.start_step)[0] ?? null;
}

/** Where to go on when the run has to: the words before the newest clean checkpoint's path, and those after it. */
export function describeResume(run: Pick<RunDetail, "health" | "state" | "resume_from">): { lead: string; path: string | null; rest: string } | null {
  if (run.resume_from === null) return null;
  const { newest_clean: newest, not_clean: count } = run.resume_from;
  if (newest === null) return { lead: strings.run.noneClean(count), path: null, rest: "" };
  const well = count === 0 && run.health !== "critical" && run.state !== "failed";
  const lead = (well ? strings.run.newestCheckpoint : strings.run.resumeFrom)(newest.step);
  return { lead, path: newest.path, rest: count === 0 ? "" : strings.run.laterNotClean(count) };
}

/** What sets the compared runs apart, in words: which broke and when, which did well. */
export function describeComparison(runs: readonly { name: string; events: readonly Event[]; finalLoss: number | null }[]): string {
  const told = runs.map((run) => ({ ...run, first: firstEvent(run.events) }));
  if (told.every((run) => run.first === null)) return story.compareAllWell;
  const broke = told.flatMap((run) => (run.first === null ? [] : [story.compareBroke(run.name, whatHappened(run.first))]));
  const well = told.flatMap((run) => (run.first === null ? [story.compareWell(run.name, run.finalLoss)] : []));
  return sentence([...broke, ...well]);
}

function describeTrouble(worst: Event, open: readonly Event[]): string[] {
  const layers = nameLayers(worst.layers);
  if (worst.kind === "explosion") {
    const nonFinite = open.find((event) => event.kind === "non_finite");
    const times = toNumber(worst.times_usual);
    return [
      story.exploded(worst.start_step, times),
      ...(layers ? [story.strongestIn(layers)] : []),
      ...(nonFinite ? [story.nonFiniteToo(nonFinite.start_step)] : []),
    ];
  }
  if (worst.kind === "non_finite") return [story.nonFinite(worst.start_step), ...(layers ? [story.firstIn(layers)] : [])];
  if (worst.kind === "vanishing") return [story.vanishing(worst.start_step), ...(layers ? [story.vanishingIn(layers)] : [])];
  return [story.other(strings.kind[worst.kind] ?? worst.kind, worst.start_step)];
}

function describeWell(run: RunLive, events: readonly Event[]): string[] {
  const past = worstOf(events.filter((event) => event.status === "resolved" && event.severity !== "info"));
  return [
    story.well(toFinite(run.global_norm)),
    ...(run.clip_rate === null ? [] : [story.clipped(run.clip_rate)]),
    ...(past === null ? [] : [describeRecovered(past)]),
  ];
}

function describeRecovered(event: Event): string {
  const kind = (strings.kind[event.kind] ?? event.kind).toLowerCase();
  return (/^[aeiou]/.test(kind) ? story.recovered : story.recoveredA)(kind, event.start_step);
}

function describeState(run: RunLive): string[] {
  if (run.state === "unreachable") return [story.unreachable];
  if (run.state === "paused") return [story.paused];
  if (run.last_step === null) return [];
  if (run.state === "finished") return [story.finishedAt(run.last_step)];
  return run.state === "failed" ? [story.failedAt(run.last_step)] : [];
}

function whatHappened(event: Event): string {
  if (event.kind === "explosion") return story.compareExploded(event.start_step);
  if (event.kind === "non_finite") return story.compareNonFinite(event.start_step);
  if (event.kind === "vanishing") return story.compareVanished(event.start_step);
  return story.other(strings.kind[event.kind] ?? event.kind, event.start_step);
}

function nameLayers(layers: readonly string[]): string {
  const named = layers.slice(0, LAYERS_NAMED).join(", ");
  const rest = layers.length - LAYERS_NAMED;
  return rest > 0 ? `${named} ${story.andMore(rest)}` : named;
}

function sentence(parts: readonly string[]): string {
  return `${parts.join("; ")}.`;
}
