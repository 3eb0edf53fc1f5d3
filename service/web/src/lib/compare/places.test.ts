import { describe, expect, test } from "vitest";
import type { MetricColumns } from "../model";
import { filled, firstTime, hasEstimatedTimes, placeOfStep, placesOf, stepsWithin, type Steps } from "./places";

const columns = (values: (number | null)[]): MetricColumns => ({ min: values, max: values, mean: values, non_finite: values.map(() => 0) });
const series = (step: number[], time: (number | null)[]): Steps => ({ step, metrics: { time: columns(time) } });

const RUN = series([0, 10, 20], [1000, 1005, 1030]);

describe("where a run lies", () => {
  test("along steps, time since its start, the time of day, and steps around its event", () => {
    const origin = { time: 1000, eventStep: 12 };
    expect(placesOf(RUN, "step", origin)).toEqual([0, 10, 20]);
    expect(placesOf(RUN, "elapsed", origin)).toEqual([0, 5, 30]);
    expect(placesOf(RUN, "time", origin)).toEqual([1000, 1005, 1030]);
    expect(placesOf(RUN, "event", origin)).toEqual([-12, -2, 8]);
  });

  test("a run without an event is nowhere around one", () => expect(placesOf(RUN, "event", { time: 0, eventStep: null })).toEqual([null, null, null]));

  test("a step between two buckets lies between them", () => {
    expect(placeOfStep(RUN.step, [1000, 1005, 1030], 14)).toBe(1015);
    expect(placeOfStep(RUN.step, [1000, 1005, 1030], 25)).toBe(1030);
    expect(placeOfStep(RUN.step, [1000, 1005, 1030], 90)).toBeNull();
  });
});

describe("times that were not stored", () => {
  test("lie between their neighbours as their steps do, and that is told", () => {
    expect(filled([0, 10, 40, 50], [100, null, 180, null])).toEqual({ times: [100, 120, 180, null], estimated: true });
    expect([hasEstimatedTimes(series([0, 10, 40], [100, null, 180])), hasEstimatedTimes(RUN)]).toEqual([true, false]);
  });

  test("a run starts at its first known one, or at none", () => {
    expect([firstTime(series([0, 1], [null, 7])), firstTime({ step: [0], metrics: {} })]).toEqual([7, null]);
  });
});

describe("the steps that a range means", () => {
  const places = [0, 5, 30];

  test("reach from the bucket before it to the one after it", () => {
    expect(stepsWithin(RUN, places, 6, 8)).toEqual({ from: 10, to: 20 });
    expect(stepsWithin(RUN, places, 0, 4)).toEqual({ from: 0, to: 10 });
  });

  test("reach past the newest bucket, which may hold more steps", () => expect(stepsWithin(RUN, places, 6, 100)).toEqual({ from: 10, to: 30 }));

  test("are none where the run has not begun", () => expect(stepsWithin(RUN, places, -9, -1)).toBeNull());
});
