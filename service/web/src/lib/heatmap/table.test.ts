import { describe, expect, test } from "vitest";
import type { LayerRow } from "../model";
import { shares } from "./share";
import { deadSince, sorted, tableRows, trendPath } from "./table";
import { trendOf, wayOf } from "./trend";

const layer = (name: string, more: Partial<LayerRow>): LayerRow => ({ name, module: name, shape: [], numel: 1, parameter_group: 0, trainable: true, norm: 1, share: 0.1, param_norm: 2, ...more });
const cells = (values: number[]) => ({ values: Float32Array.from(values), counts: null });

describe("the layer table", () => {
  const rows = tableRows([layer("a", { norm: 1, share: 0.2 }), layer("b", { norm: "NaN", share: null }), layer("c", { norm: 4, share: 0.8, param_norm: null })]);
  const names = (...order: Parameters<typeof sorted> extends [unknown, ...infer Rest] ? Rest : never): string[] => sorted(rows, ...order).map((row) => row.layer.name);
  const noTrend = (): null => null;

  test("puts the largest first, and what is not finite before it", () => {
    expect(names("share", true, noTrend)).toEqual(["b", "c", "a"]);
    expect(names("norm", false, noTrend)).toEqual(["a", "c", "b"]);
    expect(names("layer", false, noTrend)).toEqual(["a", "b", "c"]);
  });

  test("puts what is not known last", () => expect(names("ratio", true, noTrend)).toEqual(["b", "a", "c"]));
  test("orders by how far a layer is from its usual norm", () => expect(names("trend", true, (row) => trendOf(cells([1, 1, row.layer.name === "a" ? 50 : 2])))).toEqual(["b", "a", "c"]));
  test("has the norm of the gradient in relation to that of the weights", () => expect(rows.map((row) => row.ratio)).toEqual([0.5, NaN, null]));
});

describe("the trend of a layer", () => {
  test("is the newest point in units of the median", () => {
    expect(trendOf(cells([2, NaN, 1, 6]))).toEqual({ usual: 2, times: 3, deadSince: null });
  });

  test("is not known where the newest point is not finite or not there", () => {
    expect(trendOf(cells([1, NaN]))).toEqual({ usual: 1, times: null, deadSince: null });
    expect(trendOf({ values: Float32Array.from([1, 1]), counts: Uint16Array.from([0, 1]) }).times).toBeNull();
  });

  test("is dead after 50 frames without a gradient, unless it is frozen", () => {
    const [living, frozen] = tableRows([layer("a", {}), layer("b", { trainable: false })]);
    const trend = trendOf(cells([1, 0, 0]));
    expect(deadSince(living!, trend, [0, 25, 50], 25)).toBe(25);
    expect(deadSince(living!, trend, [0, 24, 48], 24)).toBeNull();
    expect(deadSince(frozen!, trend, [0, 25, 50], 25)).toBeNull();
  });

  test("has a small line that keeps every peak", () => {
    const way = wayOf(cells(Array.from({ length: 240 }, (_, at) => (at === 125 ? 100 : at < 200 ? 1 : NaN))));
    expect([way.length, way[12], way[0], way.at(-1)]).toEqual([24, 100, 1, null]);
    expect(trendPath([1, 100, null, 10], 60, 16)).toBe("M0.0 16.0L20.0 0.0M60.0 8.0");
  });
});

test("a layer's share is that of the squared norm, where both were measured", () => {
  const columns = (mean: (number | null)[]) => ({ min: mean, max: mean, mean, non_finite: mean.map(() => 0) });
  expect(shares(columns([3, 1, null]), columns([5, 0, 2]))).toEqual([0.36, null, null]);
});
