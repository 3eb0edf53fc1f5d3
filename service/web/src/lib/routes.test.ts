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
    expect(route(runPath("r-1", { from: 1960, to: 2060, monitor: "main-2" }))).toMatchObject({ view: "run", id: "r-1", from: 1960, to: 2060, monitor: "main-2" });
  });

  test("what was chosen among a run's layers survives its address", () => {
    const layers = { layer: "h.0.attn weight&é", find: "attn bias", byModule: true };
    expect(route(runPath("r-1", { layers }))).toMatchObject({ view: "run", layers });
    expect(runPath("r-1", { layers: { layer: null, find: "", byModule: false } })).toBe("/runs/r-1");
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
