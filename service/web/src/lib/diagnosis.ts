/** What a person needs to know beside the sentence: are the weights clean, what may it have been, and what to do. */
import { openEvents, worstOf } from "./describe";
import type { Event, RunLive } from "./model";
import { strings } from "./strings";
import { toFinite } from "./wire";

const { story } = strings;

export interface Finding {
  name: string;
  text: string;
  /** Said by a rule that can be wrong. */
  guess: boolean;
}

export interface Diagnosis {
  event: Event;
  findings: Finding[];
}

/** Of the worst of what goes on; null where nothing does. */
export function diagnose(run: Pick<RunLive, "open_events">, events: readonly Event[]): Diagnosis | null {
  const open = openEvents(run, events);
  const event = worstOf(open);
  if (event === null) return null;
  const found: (Finding | null)[] = [
    finding(story.weights, describeWeights(event, open)),
    finding(story.cause, event.cause === null ? null : capital(event.cause.replace(/^perhaps:\s*/, "")), true),
    finding(story.action, event.action === null ? null : capital(event.action), true),
    finding(story.seen, isAboutNorms(event) ? null : capital(event.message)),
    finding(story.norm, describeNorm(event)),
  ];
  return { event, findings: found.filter((one) => one !== null) };
}

/** Finite is not yet clean: an explosion that was applied has moved them. */
function describeWeights(worst: Event, open: readonly Event[]): string | null {
  const told = open.filter(isAboutNorms);
  const spoiled = told.find((event) => event.weights_finite === false);
  if (spoiled) return story.weightsSpoiled(told.find((event) => event.kind === "non_finite")?.start_step ?? null);
  const critical = told.filter((event) => event.severity === "critical");
  if (critical.some((event) => event.weights_finite === null)) return story.weightsUnknown;
  const hit = critical.find((event) => event.kind === "explosion");
  if (hit) return story.weightsHit(hit.last_healthy_step === null ? hit.start_step : hit.last_healthy_step + 1);
  return isAboutNorms(worst) && worst.weights_finite === true ? story.weightsFine : null;
}

function describeNorm(event: Event): string | null {
  if (!isAboutNorms(event)) return null;
  const peak = event.kind === "explosion" ? toFinite(event.peak) : null;
  const parts = [
    ...(peak === null ? [] : [story.peakAt(peak, event.peak_step, toFinite(event.usual))]),
    ...(event.last_healthy_step === null ? [] : [story.lastHealthy(event.last_healthy_step)]),
  ];
  return capital(parts.join("; "));
}

/** Events that tell a jump, whose message says no more than the sentence does. */
function isAboutNorms(event: Event): boolean {
  return event.kind === "explosion" || event.kind === "non_finite";
}

function finding(name: string, text: string | null, guess = false): Finding | null {
  return text === null || text === "" ? null : { name, text, guess };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
