import { describe, expect, test } from "vitest";
import { ABSENT, LEVELS, LOWEST, NON_FINITE, ZERO } from "./colours";
import { placeOn, rank, scaleOf } from "./scale";

const scale = { low: 0.01, high: 100, below: false, above: false };
const cells = (values: number[], counts: number[] | null = null) => ({ values: Float32Array.from(values), counts: counts && Uint16Array.from(counts) });

describe("the scale", () => {
  test("holds all norms, zeros and gaps aside", () => {
    expect(scaleOf(Float32Array.from([0, 0.03, 3, NaN, 40]))).toEqual({ low: 0.02, high: 50, below: false, above: false });
  });

  test("of a run that exploded ends some decades above its usual norm, and says so", () => {
    expect(scaleOf(Float32Array.from([1, 1, 1, 1, 1e20]))).toEqual({ low: 1, high: 1e6, below: false, above: true });
  });

  test("is none where nothing positive was measured", () => expect(scaleOf(Float32Array.from([0, NaN]))).toBeNull());
  test("is logarithmic", () => expect([0.01, 1, 100, 1e9].map((norm) => placeOn(scale, norm))).toEqual([0, 0.5, 1, 1]));
});

describe("what a cell shows", () => {
  const shown = (...rows: ReturnType<typeof cells>[]): number[] => [...rank(rows, scale, new Uint16Array(rows[0]?.values.length ?? 0))];

  test("is nothing, zero, a colour by its norm, or that it is not finite", () => {
    expect(shown(cells([NaN, 0, 0.01, 100, 1], [0, 0, 0, 0, 1]))).toEqual([ABSENT, ZERO, LOWEST, LOWEST + LEVELS - 1, NON_FINITE]);
  });

  test("is the most telling of several rows", () => {
    expect(shown(cells([0, 10, NaN]), cells([100, 0.01, 0]), cells([1, 1, NaN]))).toEqual([LOWEST + LEVELS - 1, LOWEST + 191, ZERO]);
    expect(shown(cells([1, 10], [0, 0]), cells([NaN, 1], [1, 0]))).toEqual([NON_FINITE, LOWEST + 191]);
  });
});
