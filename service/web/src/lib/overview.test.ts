import { describe, expect, test } from "vitest";
import type { Event, Health, RunSummary } from "./model";
import { applyEvent, applyRun, arrange, inPlace, refresh } from "./overview";

const run = (id: string, health: Health): RunSummary => ({ run_id: id, health, sparkline: { step: [], min: [], max: [], non_finite: [] }, last_step: null, global_norm: null }) as unknown as RunSummary;
const ids = (runs: RunSummary[] | null) => runs?.map((run) => run.run_id);

describe("the list of runs", () => {
  const [calm, odd, sick] = [run("calm", "healthy"), run("odd", "warning"), run("sick", "critical")];

  test("puts what needs a person first", () => expect(ids(arrange([calm, odd, sick]))).toEqual(["sick", "odd", "calm"]));

  test("keeps rows in their places when the service sorts equals otherwise", () => {
    const [a, b] = [run("a", "healthy"), run("b", "healthy")];
    expect(ids(arrange([b, a], [a, b]))).toEqual(["a", "b"]);
  });

  test("shows a run that was not there before its equals", () => {
    const [a, b] = [run("a", "healthy"), run("b", "healthy")];
    expect(ids(arrange([a, b], [a]))).toEqual(["b", "a"]);
  });

  test("moves a run up when it falls ill", () => {
    expect(ids(applyRun([odd, calm], { ...calm, health: "critical" }))).toEqual(["calm", "odd"]);
  });

  test("does not invent a run that it has not read", () => expect(applyRun([calm], sick)).toBeNull());
});

describe("a list of several pages", () => {
  const seen = (id: string, second: number, health: Health = "healthy") => ({ ...run(id, health), last_seen_at: `2026-11-28T12:00:0${second}Z` });
  const [a, b, c] = [seen("a", 3), seen("b", 2), seen("c", 1)];

  test("keeps its later pages when the first is read again", () => expect(ids(refresh([a, b], [a, b, c], true))).toEqual(["a", "b", "c"]));

  test("lets go of a run that would have to be on the first page and is not there", () => {
    expect(ids(refresh([b], [a, b, c], true))).toEqual(["b", "c"]);
  });

  test("holds what the first page holds where there is no other", () => expect(ids(refresh([a], [a, b, c], false))).toEqual(["a"]));

  test("shows what is new without moving a row while somebody points at one", () => {
    const sick = { ...b, health: "critical" as const };
    expect(inPlace([sick, a, c], [a, b]).map((run) => [run.run_id, run.health])).toEqual([["a", "healthy"], ["b", "critical"]]);
  });
});

describe("the list of events", () => {
  const event = (id: string, revision: number) => ({ event_id: id, revision }) as Event;

  test("shows each event once, in its newest revision", () => {
    const updated = applyEvent([event("a", 1), event("b", 1)], event("b", 2), 9);
    expect(updated.map(({ event_id, revision }) => [event_id, revision])).toEqual([["a", 1], ["b", 2]]);
    expect(applyEvent(updated, event("b", 1), 9)).toEqual(updated);
  });

  test("begins with the newest and stays short", () => {
    expect(applyEvent([event("a", 1)], event("b", 1), 1)).toEqual([event("b", 1)]);
  });
});
