import { describe, expect, test } from "vitest";
import type { Line } from "./lines";
import { cellsOf, rowsOf } from "./rows";

const norm: Line = { label: "norm", color: "--chart-norm", style: "band", low: [1, 2, null, 4], high: [1, 20, null, 5], nonFinite: [0, 0, 3, 0] };
const rate: Line = { label: "rate", color: "--chart-rate", style: "line", high: [0, 0.5, undefined, 1] };
const words = { step: "step", min: (label: string) => `${label} min`, max: (label: string) => `${label} max`, nonFinite: (label: string) => `${label} non-finite` };

describe("the table behind a chart", () => {
  test("has a row a point while there are few", () => {
    expect(rowsOf([0, 10, 20, 30], [norm], null, 4).map((row) => [row.from, row.values[0]?.low, row.values[0]?.high])).toEqual([[0, 1, 1], [10, 2, 20], [20, null, null], [30, 4, 5]]);
  });

  test("puts points together where there are many, and no spike and no NaN is lost", () => {
    expect(rowsOf([0, 10, 20, 30], [norm], null, 2)).toEqual([
      { from: 0, to: 10, values: [{ low: 1, high: 20, nonFinite: 0 }] },
      { from: 20, to: 30, values: [{ low: 4, high: 5, nonFinite: 3 }] },
    ]);
  });

  test("shows only the zoomed range", () => {
    expect(rowsOf([0, 10, 20, 30], [rate], [10, 25]).map((row) => row.from)).toEqual([10, 20]);
    expect(rowsOf([0, 10], [rate], [50, 60])).toEqual([]);
  });
});

test("the file has every point that is drawn, under a line of names", () => {
  expect(cellsOf([0, 10, 20, 30], [norm, rate], null, words)).toEqual([
    ["step", "norm min", "norm max", "norm non-finite", "rate"],
    [0, 1, 1, 0, 0],
    [10, 2, 20, 0, 0.5],
    [20, null, null, 3, null],
    [30, 4, 5, 0, 1],
  ]);
});
