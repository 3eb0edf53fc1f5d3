import { describe, expect, test } from "vitest";
import type { EventMark, RunLive } from "./model";
import { extendSparkline, sparkShape } from "./sparkline";

const FLAT = { step: [0, 10, 20], min: [1, 1, 1], max: [1, 100, 1], non_finite: [0, 0, 2] };

describe("a sparkline", () => {
  test("spans its width and reaches its top at the spike", () => {
    const points = sparkShape(FLAT, null, 100, 40).line.slice(1).split("L").map((point) => point.split(",").map(Number));
    expect(points.map(([x]) => x)).toEqual([0, 50, 100]);
    expect(Math.min(...points.map(([, y]) => y!))).toBe(points[1]![1]);
  });

  test("keeps the usual norm readable under a spike of twenty decades", () => {
    const step = [0, 1, 2, 3];
    const shape = sparkShape({ step, min: [1, 10, 1, 1e20], max: [1, 10, 1, 1e20], non_finite: [0, 0, 0, 0] }, null, 90, 40);
    const heights = shape.line.slice(1).split("L").map((point) => Number(point.split(",")[1]));
    expect(heights[3]).toBe(0);
    expect(heights[0]! - heights[1]!).toBeGreaterThan(5);
  });

  test("marks non-finite steps and draws the threshold only where it is in view", () => {
    expect(sparkShape(FLAT, 10, 100, 40)).toMatchObject({ nonFinite: [100], threshold: 20 });
    expect(sparkShape(FLAT, 1e9, 100, 40).threshold).toBeNull();
  });

  test("marks where events opened, and not what is mere information or was before the steps it shows", () => {
    const event = (start_step: number, severity: EventMark["severity"], status: EventMark["status"]) => ({ start_step, severity, status }) as EventMark;
    const events = [event(15, "critical", "open"), event(5, "warning", "resolved"), event(7, "info", "open")];
    expect(sparkShape(FLAT, null, 100, 40, events).marks).toEqual([
      { x: 75, severity: "critical", open: true },
      { x: 25, severity: "warning", open: false },
    ]);
    expect(sparkShape({ ...FLAT, step: [6, 10, 20] }, null, 100, 40, events).marks).toHaveLength(1);
  });

  test("breaks where nothing was finite", () => {
    const broken = { step: [0, 1, 2], min: [1, null, 1], max: [1, null, 1], non_finite: [0, 1, 0] };
    expect(sparkShape(broken, null, 100, 40).line.match(/M/g)).toHaveLength(2);
  });

  test("is empty, not broken, without any step", () => {
    expect(sparkShape({ step: [], min: [], max: [], non_finite: [] }, 1, 100, 40)).toMatchObject({ area: "", line: "" });
  });

  test("a live value widens the newest bucket until that is full", () => {
    const wider = extendSparkline(FLAT, { last_step: 25, global_norm: 7 } as RunLive);
    expect([wider.step, wider.min.at(-1), wider.max.at(-1)]).toEqual([[0, 10, 20], 1, 7]);
  });

  test("grows with a live value, once", () => {
    const run = { last_step: 30, global_norm: "NaN" } as RunLive;
    const longer = extendSparkline(FLAT, run);
    expect([longer.step, longer.max.at(-1), longer.non_finite.at(-1)]).toEqual([[0, 10, 20, 30], null, 1]);
    expect(extendSparkline(longer, run)).toBe(longer);
  });
});
