import { describe, expect, test } from "vitest";
import { forLogAxis, linearRange, logCeiling, logRange, logTicks } from "./ticks";

describe("a logarithmic axis", () => {
  test("ends at 1, 2 or 5 times a power of ten around the data", () => {
    expect(logRange(0.013, 2.85)).toEqual([0.01, 5]);
    expect(logRange(0.3, 0.3)).toEqual([0.2, 0.5]);
    expect(logRange(1, 1)).toEqual([0.5, 2]);
  });

  test("has every power of ten where they fit, fewer where they do not", () => {
    expect(logTicks(0.01, 100)).toEqual([0.01, 0.1, 1, 10, 100]);
    expect(logTicks(1e-3, 1e30, 4)).toEqual([1, 1e9, 1e18, 1e27]);
  });

  test("has 1, 2 and 5 where less than three powers are shown", () => {
    expect(logTicks(0.2, 5)).toEqual([0.2, 0.5, 1, 2, 5]);
  });

  test("ends some decades above the median, so that one explosion does not flatten all else", () => {
    expect(logCeiling([1, 2, null, 3, 1e20, 1e30], 6)).toBe(3e6);
    expect(logCeiling([null, 0], 6)).toBe(Infinity);
  });

  test("draws a zero minimum at the lower edge and marks where all was zero", () => {
    const fitted = forLogAxis([4, 2, 0, null], [0, 1, 0, null]);
    expect(fitted).toEqual({ high: [4, 2, null, null], low: [1, 1, null, null], zeros: [2] });
  });
});

describe("a linear axis", () => {
  test("begins at zero when the data is near it", () => expect(linearRange(0.1, 1)[0]).toBe(0));
  test("keeps a constant off the edge", () => expect(linearRange(0.1, 0.1)).toEqual([0, 0.2]));
  test("has room for nothing but zeros", () => expect(linearRange(0, 0)).toEqual([0, 1]));
});
