import { describe, expect, test } from "vitest";
import { align, heldAt } from "./align";

describe("runs on one axis", () => {
  test("another run's step breaks no line, an own hole does", () => {
    const { x, spread } = align([[0, 2], [1, 2]]);
    expect(x).toEqual([0, 1, 2]);
    expect([spread(0, [5, null], "max"), spread(1, [6, 7], "max")]).toEqual([[5, undefined, null], [null, 6, 7]]);
  });

  test("before its first and after its last place a run has nothing", () => {
    const { spread } = align([[1, 3], [0, 1, 2, 3, 4]]);
    expect(spread(0, [5, 6], "mean")).toEqual([null, 5, undefined, 6, null]);
  });

  test("a run without a place is nowhere", () => {
    const { x, spread } = align([[null, null], [0]]);
    expect([x, spread(0, [1, 2], "max")]).toEqual([[0], [null]]);
  });

  test("more places than a screen shows are merged, and no spike is lost", () => {
    const steps = Array.from({ length: 100 }, (_, step) => step);
    const values = steps.map((step) => (step === 57 ? 1000 : 1));
    const { x, spread } = align([steps], 10);
    expect(x.length).toBeLessThanOrEqual(11);
    expect(Math.max(...spread(0, values, "max").map((value) => value ?? 0))).toBe(1000);
    expect(spread(0, steps.map(() => 1), "sum").reduce<number>((sum, value) => sum + (value ?? 0), 0)).toBe(100);
    expect(spread(0, steps, "min")[0]).toBe(0);
    expect(spread(0, steps, "mean")[0]).toBeCloseTo((x[1]! - 1) / 2);
  });

  test("a value that is not there does not hide the one beside it", () => {
    const { spread } = align([[0, 1, 100]], 2);
    expect([spread(0, [null, 4, 9], "max"), spread(0, [4, null, 9], "mean")]).toEqual([[4, 9], [4, 9]]);
  });

  test("at another run's step a run shows what it had last", () => {
    const column = [5, undefined, undefined, null];
    expect([0, 1, 2, 3].map((index) => column[heldAt(column, index)])).toEqual([5, 5, 5, null]);
  });
});
