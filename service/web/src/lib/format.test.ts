import { describe, expect, test } from "vitest";
import { formatCount, formatDuration, formatNumber, formatRate, formatShare, formatTick, formatTimes } from "./format";

describe("numbers for people", () => {
  test.each([
    [0, "0"],
    [0.26, "0.26"],
    [1.52, "1.52"],
    [99.96, "100"],
    [1234.5, "1,235"],
    [0.00016, "1.6e-4"],
    [2.5e7, "2.5e7"],
    [-3, "−3"],
    [NaN, "NaN"],
    [Infinity, "∞"],
    [-Infinity, "−∞"],
    [null, "–"],
  ])("%s is written %s", (value, text) => expect(formatNumber(value)).toBe(text));

  test("a rare clip is not rounded to none, a nearly constant one not to all", () => {
    expect([0, 0.0004, 0.015, 0.49, 0.9996, 1].map(formatShare)).toEqual(["0 %", "< 0.1 %", "1.5 %", "49 %", "> 99.9 %", "100 %"]);
  });

  test("how many times its usual: whole numbers, except small ones and huge ones", () => {
    expect([3.42, 812.4, 4.1e9, Infinity].map(formatTimes)).toEqual(["3.4", "812", "4.1e9", "∞"]);
  });

  test("a rate is told in the unit in which it is more than one", () => {
    expect([1234.5, 2.04, 0.5, 1 / 300].map(formatRate)).toEqual(["1,235 / s", "2.04 / s", "30 / min", "12 / h"]);
  });

  test("steps have separators, ticks stay short", () => {
    expect([formatCount(2041), formatTick(10000), formatTick(1e5), formatTick(0.0001), formatTick(0.5)]).toEqual(["2,041", "10,000", "1e5", "1e-4", "0.5"]);
  });

  test("durations use the largest unit that fits", () => {
    expect([0.4, 12, 61, 7300, 200_000].map(formatDuration)).toEqual(["0 s", "12 s", "1 min", "2 h", "2 d"]);
  });
});
