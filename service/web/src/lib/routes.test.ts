import { describe, expect, test } from "vitest";
import { EVERYTHING, type Choice } from "./choice";
import { changed, comparePath, isRunId, layerQuery, overviewPath, parseRoute, runPath, safeLink } from "./routes";

const route = (address: string) => {
  const { pathname, search } = new URL(address, "http://host");
  return parseRoute(pathname, search);
};

describe("addresses", () => {
  test("the overview's filter survives its address", () => {
    const choice: Choice = { q: "a b&c", project: "lm/7", owner: "", group: null, tag: "#1", state: "hung", health: "critical", by: "tag" };
    expect(route(overviewPath(choice))).toEqual({ view: "overview", choice, all: false });
    expect(overviewPath(EVERYTHING)).toBe("/");
  });

  test("everything can be told from what the person saved", () => {
    expect(route(overviewPath(EVERYTHING, true))).toEqual({ view: "overview", choice: EVERYTHING, all: true });
    expect(overviewPath({ ...EVERYTHING, owner: "ada" }, true)).toBe("/?owner=ada");
  });

  test("a run's zoom, monitor and opened event survive its address", () => {
    const chosen = { from: 1960, to: 2060, monitor: "main-2", event: "e-1" };
    expect(route(runPath("r-1", chosen))).toMatchObject({ view: "run", id: "r-1", ...chosen, scalars: null, maxNorm: null });
  });

  test("the scalars that are shown survive their address, whatever they are called; none is not the same as the first few", () => {
    const address = (scalars: string[] | null) => route(changed("/runs/r-1", "?from=1&to=9&layer=head", { scalar: scalars }));
    expect(address(["a,b", "=x&y"])).toMatchObject({ scalars: ["a,b", "=x&y"], from: 1, to: 9 });
    expect(address([])).toMatchObject({ scalars: [] });
    expect(address(null)).toMatchObject({ scalars: null });
  });

  test("one part of an address changes and the others stay", () => {
    expect(changed("/runs/r", "?from=1&to=9&layer=head", { from: "2", to: null })).toBe("/runs/r?layer=head&from=2");
    expect(changed("/runs/r", "?from=1", { from: null })).toBe("/runs/r");
  });

  test("what was chosen among a run's layers survives its address", () => {
    const layers = { layer: "h.0.attn weight&é", find: "attn bias", byModule: true, size: "all", sort: { key: "layer", descending: false } } as const;
    expect(route(changed("/runs/r-1", "?from=1", layerQuery(layers)))).toMatchObject({ view: "run", from: 1, layers });
    expect(changed("/runs/r-1", "", layerQuery({ layer: null, find: "", byModule: false, size: null, sort: { key: "share", descending: true } }))).toBe("/runs/r-1");
  });

  test("a threshold and a zoom are kept side by side, and either can be taken out", () => {
    const both = changed("/runs/r-1", "?from=1&to=2", { max_norm: "0.25" });
    expect(route(both)).toMatchObject({ id: "r-1", from: 1, to: 2, maxNorm: 0.25 });
    expect(changed("/runs/r-1", "?from=1&to=2&max_norm=0.25", { from: null, to: null })).toBe("/runs/r-1?max_norm=0.25");
    expect(["0", "-1", "nonsense", "Infinity", ""].map((text) => route(`/runs/x?max_norm=${text}`))).toEqual(Array(5).fill(expect.objectContaining({ maxNorm: null })));
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
    expect(route("/?health=superb&state=fine&by=colour")).toMatchObject({ choice: EVERYTHING });
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
