import { describe, expect, test } from "vitest";
import { AROUND_EVENT, formatSpan, SINCE_START, STEPS } from "./along";

describe("what lies along a chart", () => {
  test("spans of time are as long as they must be", () => {
    expect([0, 0.25, 45, 60, 90, 3600, 5400, 86_400, 108_000, -90].map(formatSpan)).toEqual(["0 s", "0.25 s", "45 s", "1 min", "1:30 min", "1 h", "1:30 h", "1 d", "1 d 6 h", "−1:30 min"]);
  });

  test("steps around an event have a sign", () => {
    expect(AROUND_EVENT.ticks([-1000, 0, 50])).toEqual(["−1,000", "0", "+50"]);
    expect([-1, 0, 20].map(AROUND_EVENT.where)).toEqual(["1 step before the first event", "at the first event", "20 steps after the first event"]);
  });

  test("a drag means whole steps, but milliseconds of time", () => {
    expect([STEPS.snap(-3.2, 7.1), STEPS.snap(7.1, 7.2), AROUND_EVENT.snap(-3.2, 7.1)]).toEqual([[0, 8], [7, 8], [-4, 8]]);
    expect(SINCE_START.snap(1.23456, 2.34567)).toEqual([1.234, 2.346]);
  });
});
