/** A run's condition in one sentence, for people: what happened, when, how bad, where it began. */
import type { Event, RunDetail, RunLive } from "./model";
import { strings } from "./strings";
import { toFinite, toNumber } from "./wire";

const { story } = strings;
const GRAVITY: Record<string, number> = { explosion: 0, non_finite: 1, vanishing: 2, instability: 3, clip_saturation: 4 };
const LAYERS_NAMED = 2;

/** A run, and what its attempts say where that is known. */
export type Told = RunLive & Partial<Pick<RunDetail, "attempts" | "monitors">>;

/** The status line of a run. ``events`` are all events of the run; open ones decide, resolved ones are mentioned. */
export function describeRun(run: Told, events: readonly Event[]): string {
  if (run.health === "unknown") return sentence([story.unknown, ...describeState(run)]);
  if (run.health === "not_measurable") return sentence([story.notMeasurable, ...describeState(run)]);
  const open = openEvents(run, events);
  const first = beganWith(open);
  if (first !== null) return sentence([...describeTrouble(run, first, open), ...describeState(run)]);
  const parts = run.health === "healthy" ? describeWell(run, events) : [story.notRead(strings.health[run.health])];
  return sentence([...parts, ...describeState(run)]);
}

/** What goes on in a run and is more than information. A summary may know of an event before the list of them does. */
export function openEvents(run: Pick<RunLive, "open_events">, events: readonly Event[]): Event[] {
  const known = new Set(events.map((event) => event.event_id));
  const all = [...events, ...run.open_events.filter((event) => !known.has(event.event_id))];
  return all.filter((event) => event.status === "open" && event.severity !== "info");
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

/** The worst of them, or the explosion that led to it: a clip may have absorbed that one, so that it was only a warning. */
function beganWith(open: readonly Event[]): Event | null {
  const worst = worstOf(open);
  if (worst?.kind !== "non_finite") return worst;
  return open.find((event) => event.kind === "explosion" && event.monitor === worst.monitor && event.start_step <= worst.start_step) ?? worst;
}

function describeTrouble(run: Told, worst: Event, open: readonly Event[]): string[] {
  const nonFinite = worst.kind === "explosion" ? open.find((event) => event.kind === "non_finite") : undefined;
  return [
    `${whatBroke(worst)}${(run.monitors?.length ?? 0) > 1 && worst.kind !== "two_processes" ? story.of(isolate(worst.monitor)) : ""}`,
    ...whereItBegan(worst),
    ...(nonFinite ? [story.nonFiniteToo(nonFinite.start_step)] : []),
    ...(open.some((event) => event.weights_finite === false) ? [describeLostWeights(run)] : []),
  ];
}

function whatBroke(event: Event): string {
  const { kind, start_step: step } = event;
  if (kind === "explosion") return story.exploded(step, toNumber(event.times_usual));
  if (kind === "non_finite") return story.nonFinite(step);
  if (kind === "vanishing") return story.vanishing(step);
  if (kind === "clip_saturation") return story.saturated(step, toFinite(event.times_usual));
  if (kind === "instability") return story.unstable(step);
  if (kind === "two_processes") return story.twoProcesses(event.rank);
  return story.other(strings.kind[kind] ?? kind, step);
}

function whereItBegan(event: Event): string[] {
  const layers = nameLayers(event.layers);
  if (event.kind === "vanishing") return layers ? [story.vanishingIn(layers)] : [];
  if (event.first_layer) return [story.firstIn(isolate(event.first_layer))];
  if (!layers) return [];
  if (event.kind === "explosion") return [story.strongestIn(layers)];
  return event.kind === "non_finite" ? [story.firstIn(layers)] : [];
}

/** Weights are measured every 64th step, so that nobody knows the step at which they broke; only that they had by now. */
function describeLostWeights(run: RunLive): string {
  const goesOn = run.state === "running" || run.state === "paused";
  return goesOn || run.last_step === null ? story.weightsLost : story.weightsLostBy(run.last_step);
}

function describeWell(run: RunLive, events: readonly Event[]): string[] {
  const past = events.filter((event) => event.status === "resolved" && event.severity !== "info");
  return [
    story.well(toFinite(run.global_norm)),
    ...(run.clip_rate === null ? [] : [story.clipped(run.clip_rate)]),
    ...describePast(past),
  ];
}

function describePast(past: readonly Event[]): string[] {
  const worst = worstOf(past);
  if (worst === null) return [];
  const kind = (strings.kind[worst.kind] ?? worst.kind).toLowerCase();
  if (past.length === 1) return [(/^[aeiou]/.test(kind) ? story.recovered : story.recoveredA)(kind, worst.start_step)];
  return [story.recoveredMany(past.length, kind, worst.start_step)];
}

function describeState(run: Told): string[] {
  const word = story.state[run.state];
  return word === undefined ? [] : [word(run.last_step, exceptionOf(run))];
}

/** What the newest launch ended with. */
function exceptionOf(run: Told): string | null {
  const newest = run.attempts?.at(-1)?.launch;
  return run.attempts?.find((attempt) => attempt.launch === newest && attempt.exception !== null)?.exception ?? null;
}

function whatHappened(event: Event): string {
  if (event.kind === "explosion") return story.compareExploded(event.start_step);
  if (event.kind === "non_finite") return story.compareNonFinite(event.start_step);
  if (event.kind === "vanishing") return story.compareVanished(event.start_step);
  return story.other(strings.kind[event.kind] ?? event.kind, event.start_step);
}

function nameLayers(layers: readonly string[]): string {
  const named = layers.slice(0, LAYERS_NAMED).map(isolate).join(", ");
  const rest = layers.length - LAYERS_NAMED;
  return rest > 0 ? `${named} ${story.andMore(rest)}` : named;
}

/** A name that may turn the direction of writing turns only its own. */
function isolate(name: string): string {
  return /^[\x20-\x7e]*$/.test(name) ? name : `\u2068${name}\u2069`;
}

function sentence(parts: readonly string[]): string {
  return `${parts.join("; ").replace(/\.$/, "")}.`;
}
