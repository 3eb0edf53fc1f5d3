import { describe, expect, test } from "vitest";
import type { LiveFrames, MetricColumns, SeriesAnswer } from "./model";
import { fitsLogAxis, peakOf, rollingRate, SeriesBuffer } from "./series";
import type { WireNumber } from "./wire";

const columns = (values: (number | null)[], nonFinite = values.map(() => 0)): MetricColumns => ({ min: [...values], max: [...values], mean: [...values], non_finite: [...nonFinite] });

function answer(step: number[], norm: (number | null)[], more: Partial<SeriesAnswer> = {}): SeriesAnswer {
  const series = { global_norm: columns(norm), clip_rate: columns(norm.map(() => 0)) };
  return { run_id: "r", monitor: "main", rank: 0, frames: step.length, bucket: 1, step, series, gaps: [], attempts: [], last_step: step.at(-1) ?? null, ...more };
}

function frames(step: number[], norm: WireNumber[], coefficient: WireNumber[] = step.map(() => 1)): LiveFrames {
  return { run_id: "r", monitor: "main", rank: 0, step, time: step.map((value) => 1e9 + value), global_norm: norm, loss: step.map(() => null), clip_coefficient: coefficient, max_norm: step.map(() => 1), lr: step.map(() => 0.1) };
}

const norm = (buffer: SeriesBuffer) => buffer.metrics["global_norm"]!;

describe("live frames join the history", () => {
  test("with one frame a bucket, each frame is a point of its own", () => {
    const buffer = new SeriesBuffer(answer([0, 1], [5, 6]));
    expect(buffer.append(frames([2, 3], [7, 8]))).toBe(true);
    expect([buffer.step, norm(buffer).max]).toEqual([[0, 1, 2, 3], [5, 6, 7, 8]]);
  });

  test("the newest bucket is filled before the next begins", () => {
    const buffer = new SeriesBuffer(answer([0, 4], [5, 6], { bucket: 4, frames: 6, last_step: 5 }));
    buffer.append(frames([6, 7, 8], [60, 2, 9]));
    expect(buffer.step).toEqual([0, 4, 8]);
    expect([norm(buffer).min, norm(buffer).max]).toEqual([[5, 2, 9], [5, 60, 9]]);
    expect(norm(buffer).mean[1]).toBeCloseTo((6 + 6 + 60 + 2) / 4);
  });

  test("frames that came with the history already are not counted twice", () => {
    const buffer = new SeriesBuffer(answer([0, 1, 2], [1, 1, 1]));
    expect(buffer.append(frames([1, 2, 3], [9, 9, 2]))).toBe(true);
    expect(norm(buffer).max).toEqual([1, 1, 1, 2]);
  });

  test("steps that go back say that the history must be read again", () => {
    const buffer = new SeriesBuffer(answer([0, 1], [1, 1]));
    buffer.append(frames([2, 3], [1, 1]));
    expect(buffer.append(frames([1], [1]))).toBe(false);
  });

  test("an attempt that goes through known steps says so, too, if nobody saw it begin", () => {
    const buffer = new SeriesBuffer(answer([0, 1000], [1, 1]));
    const heard = Array.from({ length: 9 }, (_, message) => buffer.append(frames([500 + message], [1])));
    expect(heard).toEqual([...Array<boolean>(8).fill(true), false]);
  });

  test("a non-finite norm is counted and leaves a hole, not a zero", () => {
    const buffer = new SeriesBuffer(answer([0], [1]));
    buffer.append(frames([1, 2], ["NaN", "Infinity"]));
    expect([norm(buffer).max, norm(buffer).non_finite]).toEqual([[1, null, null], [0, 1, 1]]);
  });

  test("a clip is seen in the coefficient", () => {
    const buffer = new SeriesBuffer(answer([0], [1]));
    buffer.append(frames([1, 2, 3], [1, 1, 1], [1, 0.5, "NaN"]));
    expect(buffer.metrics["clip_rate"]!.mean).toEqual([0, 0, 1, null]);
  });

  test("too many buckets are merged in pairs and no spike is lost", () => {
    const buffer = new SeriesBuffer(answer([], []), 4);
    buffer.append(frames([0, 1, 2, 3], [1, 1000, "NaN", 4]));
    expect([buffer.bucket, buffer.step]).toEqual([2, [0, 2]]);
    expect([norm(buffer).min, norm(buffer).max, norm(buffer).non_finite]).toEqual([[1, 4], [1000, 4], [0, 1]]);
    expect(norm(buffer).mean).toEqual([500.5, 4]);
    buffer.append(frames([4], [7]));
    expect([buffer.step, norm(buffer).max]).toEqual([[0, 2, 4], [1000, 4, 7]]);
  });
});

describe("what is read off a series", () => {
  test("the clip rate looks back over a window of frames, whatever the bucket", () => {
    expect(rollingRate([1, 0, 0, 1], 50, 100)).toEqual([1, 0.5, 0, 0.5]);
    expect(rollingRate([null, 1], 100, 100)).toEqual([null, 1]);
    expect(rollingRate([0.1, 0.2, 0, 0, 0], 50, 100).slice(-2)).toEqual([0, 0]);
  });

  test("a logarithmic axis needs something positive and nothing negative", () => {
    expect([columns([1, 0]), columns([1, -1]), columns([0]), columns([null])].map(fitsLogAxis)).toEqual([true, false, false, false]);
  });

  test("the largest value ignores holes", () => {
    expect(peakOf(columns([null, 3, 2]))).toBe(3);
  });
});
