import { describe, expect, test } from "vitest";
import { EVERYTHING, filterQuery, fits, isEverything, isFiltered, sameFilter, within } from "./choice";
import type { RunLive } from "./model";

const run = { project: "lm", owner: null, group: "sweep", tags: ["prod"], state: "running", health: "healthy" } as unknown as RunLive;

describe("a choice", () => {
  test("of nothing asks the service for everything", () => {
    expect(Object.values(filterQuery(EVERYTHING)).filter((value) => value !== null)).toEqual([]);
    expect([isEverything(EVERYTHING), isFiltered(EVERYTHING)]).toEqual([true, false]);
  });

  test("of groups alone filters nothing, and is a choice", () => {
    const grouped = { ...EVERYTHING, by: "tag" as const };
    expect([isEverything(grouped), isFiltered(grouped), sameFilter(grouped, EVERYTHING)]).toEqual([false, false, true]);
  });

  test("of runs that have none is a filter", () => expect(isFiltered({ ...EVERYTHING, owner: "" })).toBe(true));

  test("opens a section as a list of its own, under the same filters", () => {
    expect(within({ ...EVERYTHING, owner: "ada", by: "tag" }, "tag", "prod")).toEqual({ ...EVERYTHING, owner: "ada", tag: "prod" });
  });
});

describe("a run fits", () => {
  test.each([
    [{}, true],
    [{ project: "lm", tag: "prod", group: "sweep" }, true],
    [{ owner: "" }, true],
    [{ owner: "ada" }, false],
    [{ tag: "" }, false],
    [{ tag: "pro" }, false],
    [{ state: "hung" as const }, false],
    [{ health: "healthy" as const }, true],
  ])("%o: %s", (asked, expected) => expect(fits(run, { ...EVERYTHING, ...asked })).toBe(expected));
});
