import { describe, expect, test } from "vitest";
import { changedPath, comparePath, isRunId, overviewPath, parseRoute, runPath, safeLink } from "./routes";

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
    expect(route(runPath("r-1", { from: 1960, to: 2060, monitor: "main-2" }))).toEqual({ view: "run", id: "r-1", from: 1960, to: 2060, monitor: "main-2", maxNorm: null });
  });

  test("a threshold and a zoom are kept side by side, and either can be taken out", () => {
    const both = changedPath("/runs/r-1", "?from=1&to=2", { max_norm: "0.25" });
    expect(route(both)).toMatchObject({ id: "r-1", from: 1, to: 2, maxNorm: 0.25 });
    expect(changedPath("/runs/r-1", "?from=1&to=2&max_norm=0.25", { from: null, to: null })).toBe("/runs/r-1?max_norm=0.25");
    expect(["0", "-1", "nonsense", "Infinity", ""].map((text) => route(`/runs/x?max_norm=${text}`))).toEqual(Array(5).fill(expect.objectContaining({ maxNorm: null })));
  });

  test("compared runs survive their address, each once and twelve at most", () => {
    expect(route(comparePath(["a", "b", "a"]))).toEqual({ view: "compare", runs: ["a", "b"] });
    expect(route(comparePath([..."abcdefghijklmno"]))).toMatchObject({ runs: [..."abcdefghijkl"] });
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
