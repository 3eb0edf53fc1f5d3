import { describe, expect, test } from "vitest";
import { comparePath, isRunId, overviewPath, parseRoute, runPath, safeLink } from "./routes";

const route = (address: string) => {
  const { pathname, search } = new URL(address, "http://host");
  return parseRoute(pathname, search);
};

describe("addresses", () => {
  test("the overview's filter survives its address", () => {
    expect(route(overviewPath("a b&c", "critical"))).toEqual({ view: "overview", q: "a b&c", health: "critical" });
    expect(overviewPath("", null)).toBe("/");
  });

  test("a run's zoom and monitor survive its address", () => {
    expect(route(runPath("r-1", { from: 1960, to: 2060, monitor: "main-2" }))).toEqual({ view: "run", id: "r-1", from: 1960, to: 2060, monitor: "main-2" });
  });

  test("compared runs survive their address, each once and twelve at most", () => {
    expect(route(comparePath(["a", "b", "a"]))).toMatchObject({ view: "compare", runs: ["a", "b"], by: "step", hidden: [], metrics: [] });
    expect(route(comparePath([..."abcdefghijklmno"]))).toMatchObject({ runs: [..."abcdefghijkl"] });
  });

  test("all that was chosen of a comparison is in its address", () => {
    const look = { by: "event" as const, from: -20, to: 12.5, metrics: ["loss", "a,b&c"], hidden: ["b"], bands: true, everything: true };
    expect(route(comparePath(["a", "b"], look))).toEqual({ view: "compare", runs: ["a", "b"], ...look });
  });

  test("what is chosen by nobody is not in it, and a range that is none is left out", () => {
    expect(comparePath(["a"], { by: "step", from: null, to: null, metrics: [], hidden: [], bands: false, everything: false })).toBe("/compare?runs=a");
    expect(route("/compare?runs=a&by=moon&from=9&to=3")).toMatchObject({ by: "step", from: null, to: null });
  });

  test("nonsense in the query is ignored, nonsense in the path is not found", () => {
    expect(route("/?health=superb")).toMatchObject({ health: null });
    expect(route("/runs/x?from=-1&to=1e9")).toMatchObject({ from: null, to: null });
    expect(route("/runs/%E0%A4%A")).toMatchObject({ view: "run", id: "%E0%A4%A" });
    expect(route("/admin")).toEqual({ view: "not_found", path: "/admin" });
  });

  test("a run's id is a UUID", () => {
    expect(["018f0000-0000-7000-8000-000000000001", "nope", "../018f0000-0000-7000-8000-000000000001"].map(isRunId)).toEqual([true, false, false]);
  });

  test("only addresses of the web become links", () => {
    expect(safeLink("https://example.org/a")).toBe("https://example.org/a");
    expect(["javascript:alert(1)", "data:text/html,x", "//x", 5, null].map(safeLink)).toEqual([null, null, null, null, null]);
  });
});
