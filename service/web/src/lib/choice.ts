/** What the overview is asked to show: its filters and its grouping, as the address keeps them. Pure. */
import type { Grouping, Health, RunLive, RunState } from "./model";

export interface Choice {
  q: string;
  project: string | null;
  /** As group and tag: "" asks for the runs that have none. */
  owner: string | null;
  group: string | null;
  tag: string | null;
  state: RunState | null;
  health: Health | null;
  /** What the runs of a section share; null shows one list. */
  by: Grouping | null;
}

export type FilterName = "project" | "owner" | "group" | "tag" | "state" | "health";

export const EVERYTHING: Choice = { q: "", project: null, owner: null, group: null, tag: null, state: null, health: null, by: null };
export const HEALTHS: readonly Health[] = ["critical", "warning", "healthy", "not_measurable", "unknown"];
export const STATES: readonly RunState[] = ["running", "hung", "paused", "unreachable", "failed", "finished"];
export const GROUPINGS: readonly Grouping[] = ["project", "tag", "group", "owner"];
export const FILTERS: readonly FilterName[] = ["project", "owner", "group", "tag", "state", "health"];

export function parseChoice(query: URLSearchParams): Choice {
  return {
    q: query.get("q") ?? "",
    project: query.get("project"),
    owner: query.get("owner"),
    group: query.get("group"),
    tag: query.get("tag"),
    state: oneOf(STATES, query.get("state")),
    health: oneOf(HEALTHS, query.get("health")),
    by: oneOf(GROUPINGS, query.get("by")),
  };
}

/** The filters as the service is asked for them. */
export function filterQuery(choice: Choice): Record<string, string | null> {
  const { by: _, q, ...filters } = choice;
  return { q: q || null, ...filters };
}

/** The whole of it as the address keeps it. */
export function choiceQuery(choice: Choice): Record<string, string | null> {
  return { ...filterQuery(choice), by: choice.by };
}

export function isFiltered(choice: Choice): boolean {
  return Object.values(filterQuery(choice)).some((value) => value !== null);
}

export function isEverything(choice: Choice): boolean {
  return !isFiltered(choice) && choice.by === null;
}

export function sameFilter(one: Choice, other: Choice): boolean {
  return one.q === other.q && FILTERS.every((name) => one[name] === other[name]);
}

/** Whether a run is among those asked for, as far as its own fields tell; what text finds is the service's to say. */
export function fits(run: RunLive, choice: Choice): boolean {
  const is = (asked: string | null, word: string | null): boolean => asked === null || (word ?? "") === asked;
  const tagged = choice.tag === null || (choice.tag === "" ? run.tags.length === 0 : run.tags.includes(choice.tag));
  const whose = is(choice.project, run.project) && is(choice.owner, run.owner) && is(choice.group, run.group);
  return whose && tagged && is(choice.state, run.state) && is(choice.health, run.health);
}

/** The choice that opens one section as a list of its own. */
export function within(choice: Choice, by: Grouping, value: string): Choice {
  return { ...choice, by: null, [by]: value };
}

function oneOf<Word extends string>(words: readonly Word[], text: string | null): Word | null {
  return words.find((word) => word === text) ?? null;
}
