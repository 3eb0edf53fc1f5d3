import { describe, expect, test } from "vitest";
import { axisOf, beyond, columnsOf, heightOf, pathOf, placeOf, valueAt } from "./chart/histogram";
import type { AdviceAnswer } from "./model";
import { firstThreshold, judgeThreshold, nextThreshold, roundThresholds, toThreeDigits } from "./threshold";

// 10 frames: 1 without any gradient, 4 at 0.75, 4 at 2, of which one is not healthy, and an explosion at 4
const TOLD = {
  frames: 10,
  healthy_frames: 8,
  suggested_max_norm: 2,
  newest: { max_norm: 1 },
  histogram: { above: [0.749, 1.99, 3.99], up_to: [0.75, 2.0, 4.0], frames: [4, 4, 1], healthy: [4, 3, 0] },
} as AdviceAnswer;
const BUCKETS = TOLD.histogram;

describe("what a threshold would have clipped", () => {
  test("is counted exactly where a bucket ends", () => {
    expect(judgeThreshold(TOLD, 2)).toMatchObject({ clipped: 1, clippedAtMost: 1, clipRate: 0.1, healthyClipped: 0, healthyClipRate: 0 });
    expect(judgeThreshold(TOLD, 0.75)).toMatchObject({ clipped: 5, clippedAtMost: 5, clipRate: 0.5, healthyClipped: 3, healthyClipRate: 3 / 8 });
  });

  test("lies between two counts elsewhere", () => {
    expect(judgeThreshold(TOLD, 3.999)).toMatchObject({ clipped: 0, clippedAtMost: 1 });
    expect(judgeThreshold(TOLD, 0.1)).toMatchObject({ clipped: 9, clippedAtMost: 9 });
    expect(judgeThreshold(TOLD, 100)).toMatchObject({ clipped: 0, clippedAtMost: 0, meanClipCoefficient: 1 });
  });

  test("multiplies by the mean of min(1, max_norm / norm); a step without a gradient is left alone", () => {
    expect(judgeThreshold(TOLD, 1).meanClipCoefficient).toBeCloseTo((1 + 4 + 4 / 1.995 + 1 / 3.995) / 10, 12);
  });

  test("of no frames nothing is said", () => {
    expect(judgeThreshold({ frames: 0, healthy_frames: 0, histogram: { above: [], up_to: [], frames: [], healthy: [] } }, 1)).toMatchObject({ clipped: 0, clipRate: null, healthyClipRate: null });
  });

  test("a norm beyond the last edge lies above every threshold", () => {
    const told = { frames: 1, healthy_frames: 0, histogram: { above: [3.4e38], up_to: [null], frames: [1], healthy: [0] } };
    expect(judgeThreshold(told, 1e30)).toMatchObject({ clipped: 1, clippedAtMost: 1 });
  });
});

describe("moving the line", () => {
  test("stands on three digits after a drag, and steps by two with the keys", () => {
    expect(toThreeDigits(2.23606)).toBe(2.24);
    expect([2.2, 9.9, 10, 0.099, 2.24].map((value) => nextThreshold(value, 1))).toEqual([2.3, 10, 11, 0.1, 2.3]);
    expect([2.2, 10, 1, 0.1, 2.24].map((value) => nextThreshold(value, -1))).toEqual([2.1, 9.9, 0.99, 0.099, 2.2]);
  });

  test("begins at the advice, else at what is set, else above half of the norms", () => {
    expect(firstThreshold(TOLD)).toBe(2);
    expect(firstThreshold({ ...TOLD, suggested_max_norm: null })).toBe(1);
    expect(firstThreshold({ ...TOLD, suggested_max_norm: null, newest: { ...TOLD.newest, max_norm: null } })).toBe(2);
  });

  test("round thresholds fill the axis", () => expect(roundThresholds([0.2, 10])).toEqual([0.2, 0.5, 1, 2, 5, 10]));
});

describe("the histogram's picture", () => {
  test("the axis reaches around norms and thresholds, and is never too narrow to drag in", () => {
    expect(axisOf(BUCKETS, [0.01, null])).toEqual([0.01, 5]);
    const [low, high] = axisOf({ above: [0.99], up_to: [1], frames: [5], healthy: [5] }, []);
    expect(high / low).toBeGreaterThanOrEqual(30);
  });

  test("a run that left all bounds leaves room for its healthy norms, and what lies beyond is told", () => {
    const exploded = { above: [0.99, 9.99e19], up_to: [1, 1e20], frames: [5, 3], healthy: [5, 0] };
    const axis = axisOf(exploded, []);
    expect(axis[1]).toBe(100);
    expect(beyond(exploded, axis)).toBe(1e20);
    expect(columnsOf(exploded, axis, 20).frames.at(-1)).toBeCloseTo(3, 9);
    expect(beyond(BUCKETS, axisOf(BUCKETS, []))).toBeNull();
  });

  test("places and values are each other's inverse", () => {
    expect(placeOf(1, [0.1, 10])).toBeCloseTo(0.5, 12);
    expect(valueAt(placeOf(2.5, [0.1, 10]), [0.1, 10])).toBeCloseTo(2.5, 12);
    expect([valueAt(-1, [0.1, 10]), valueAt(2, [0.1, 10])]).toEqual([0.1, 10]);
  });

  test("no frame is lost on the way into columns, and a wide bucket is spread over its columns", () => {
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    const columns = columnsOf(BUCKETS, [0.5, 5], 40);
    expect([sum(columns.frames), sum(columns.healthy)]).toEqual([expect.closeTo(9, 9), expect.closeTo(7, 9)]);
    expect(columnsOf({ above: [1], up_to: [100], frames: [8], healthy: [8] }, [1, 100], 4).frames).toEqual(Array(4).fill(expect.closeTo(2, 9)));
  });

  test("one explosion among thousands of frames is seen", () => {
    expect(heightOf(1, 10_000)).toBeGreaterThan(0.05);
    expect([heightOf(0, 10), heightOf(10, 10)]).toEqual([0, 1]);
    expect(pathOf([0, 1], 1, 20, 100)).toBe("M10 100v-100h9V100z");
  });
});
