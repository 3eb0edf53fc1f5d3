import { describe, expect, test } from "vitest";
import type { Event, MetricColumns, SeriesAnswer } from "../model";
import { SeriesBuffer } from "../series";
import { compareCharts, inFront, type Compared } from "./compare-charts";
import { toColumns, type Line } from "./lines";
import { commonOverlay, runCharts, scalarCharts } from "./run-charts";

const columns = (values: (number | null)[]): MetricColumns => ({ min: values, max: values, mean: values, non_finite: values.map((value) => Number(value === null)) });

function buffer(step: number[], series: Record<string, MetricColumns>, bucket = 1): SeriesBuffer {
  const answer: SeriesAnswer = { run_id: "r", monitor: "main", rank: 0, frames: step.length * bucket, bucket, step, series, gaps: [], attempts: [], last_step: step.at(-1) ?? null };
  return new SeriesBuffer(answer);
}

const event = (more: Partial<Event>): Event => ({ severity: "critical", status: "open", start_step: 1, end_step: null, ...more }) as Event;

describe("the charts of a run", () => {
  const series = buffer([0, 1, 2], { global_norm: columns([1, 5, null]), loss: columns([2, -1, 3]), max_norm: columns([0.5, 0.5, 0.5]), lr: columns([0.1, 0.1, 0.1]) });

  test("the norm has a logarithmic axis and its threshold, a loss below zero has a linear one", () => {
    const [loss, norm] = runCharts(series, [], []);
    expect([norm?.axis, norm?.lines.map((line) => line.style)]).toEqual(["log", ["band", "dashed"]]);
    expect(loss?.axis).toBe("linear");
  });

  test("a threshold that is off is not drawn", () => {
    const off = buffer([0], { global_norm: columns([1]), max_norm: columns([null]) });
    expect(runCharts(off, [], [])[1]?.lines).toHaveLength(1);
  });

  test("open events last, resolved ones end, non-finite steps are marked", () => {
    const events = [event({}), event({ status: "resolved", end_step: 2, severity: "warning" })];
    const overlay = runCharts(series, events, [{ first_step: 7, last_step: 9, n: 3, reason: "quota" }])[1]?.overlay;
    expect(overlay).toEqual({
      events: [{ from: 1, to: null, color: "--critical" }, { from: 1, to: 2, color: "--warning" }],
      gaps: [{ from: 7, to: 9 }],
      nonFinite: [{ step: [2], color: "--non-finite", row: 0 }],
    });
  });

  test("a screen reader is told the last and largest value and how many steps were not finite", () => {
    expect(runCharts(series, [], [])[1]?.summary).toBe("Gradient norm: last 5, largest 5, 1 non-finite step");
  });
});

describe("the charts of what a run logs", () => {
  const absent = (values: (number | null)[]): MetricColumns => ({ ...columns(values), non_finite: values.map(() => 0) });

  test("a scalar that spans three decades has a logarithmic axis, others a linear one", () => {
    const series = buffer([0, 1], { perplexity: columns([5000, 3]), accuracy: columns([0.1, 0.9]), delta: columns([-1, 4000]) });
    expect(scalarCharts(series, ["perplexity", "accuracy", "delta", "unknown"], () => "--run-1", {}).map((chart) => [chart.title, chart.axis])).toEqual([["perplexity", "log"], ["accuracy", "linear"], ["delta", "linear"]]);
  });

  test("a step at which nothing was logged does not break the line, a NaN does", () => {
    const [logged] = scalarCharts(buffer([0, 1, 2], { accuracy: absent([0.1, null, 0.3]) }), ["accuracy"], () => "--run-1", {});
    expect(logged?.lines[0]?.high).toEqual([0.1, undefined, 0.3]);
    const [broken] = scalarCharts(buffer([0, 1, 2], { accuracy: columns([0.1, null, 0.3]) }), ["accuracy"], () => "--run-1", {});
    expect(broken?.lines[0]?.high).toEqual([0.1, null, 0.3]);
  });

  test("a resume is marked in every chart", () => {
    const spans = [{ number: 1, from: 0, to: 4, replaced: null }, { number: 2, from: 5, to: 9, replaced: null }];
    expect(commonOverlay([], [], spans).seams).toEqual([{ step: 5, label: "attempt 2" }]);
  });
});

describe("lines on an axis", () => {
  const band = (high: (number | null)[]): Line => ({ label: "norm", color: "--chart-norm", style: "band", high, low: high });

  test("a line that explodes leaves through the top and says how far it went", () => {
    const { ceiling, leaving } = toColumns([0, 1, 2, 3, 4], [band([1, 1, 1, 1e9, 1e20])], true);
    expect([ceiling, leaving]).toEqual([1e6, [{ step: 3, peak: 1e20, color: "--chart-norm" }]]);
  });

  test("a linear axis shows everything", () => {
    expect(toColumns([0, 1], [band([1, 1e20])], false)).toMatchObject({ ceiling: Infinity, leaving: [] });
  });
});

describe("runs over each other", () => {
  const series = (): SeriesBuffer => buffer([0, 1], { global_norm: columns([1, 2]), max_norm: columns([1, 1]), clip_coefficient: columns([1, 0.5]) });
  const run = (name: string, more: Partial<Compared> = {}): Compared => ({ id: name, name, short: name, look: { color: `--${name}`, dash: [] }, series: series(), places: [0, 1], event: null, group: null, ...more });

  test("each run keeps its colour, its threshold and its flag", () => {
    const norm = compareCharts([run("a", { event: 1 }), run("b")], ["global_norm"]).charts[0];
    expect(norm?.lines.map(({ label, color, style }) => [label, color, style])).toEqual([
      ["a", "--a", "band"],
      ["b", "--b", "band"],
      ["max_norm of a", "--a", "dashed"],
      ["max_norm of b", "--b", "dashed"],
    ]);
    expect(norm?.overlay.events).toEqual([{ from: 1, to: 1, color: "--a", owner: "a" }]);
  });

  test("of more than three runs lines are drawn, by the largest norm and the mean of all else", () => {
    const wide = { min: [0, 0], max: [4, 4], mean: [1, 1], non_finite: [0, 0] };
    const runs = ["a", "b", "c", "d"].map((name) => run(name, { series: buffer([0, 1], { global_norm: wide, loss: wide }, 8) }));
    const [norm, loss] = compareCharts(runs, ["global_norm", "loss"]).charts;
    expect([norm?.lines[0]?.style, norm?.lines[0]?.high, norm?.hint]).toEqual(["line", [4, 4], "largest of each point, log scale"]);
    expect([loss?.lines[0]?.style, loss?.lines[0]?.high, loss?.hint]).toEqual(["line", [1, 1], "mean of each point, log scale"]);
  });

  test("a run that is shorter ends where it ends", () => {
    const short = run("a", { series: buffer([0], { global_norm: columns([7]) }), places: [0] });
    const norm = compareCharts([short, run("b")], ["global_norm"]).charts[0];
    expect(norm?.lines.map((line) => line.high).slice(0, 2)).toEqual([[7, null], [1, 2]]);
  });

  test("a group of seeds is its range and its median", () => {
    const group = { label: "clipped", color: "--run-1" };
    const seeds = [1, 5, 3].map((norm, seed) => run(`seed ${seed}`, { group, series: buffer([0, 1], { global_norm: columns([norm, norm]) }) }));
    const [range, median] = compareCharts(seeds, ["global_norm"]).charts[0]?.lines ?? [];
    expect([range?.low, range?.high, median?.high]).toEqual([[1, 1], [5, 5], [3, 3]]);
    expect([median?.label, median?.short, median?.color]).toEqual(["median of clipped", "clipped", "--run-1"]);
  });

  test("a run that is pointed at leaves the others behind", () => {
    const { charts } = compareCharts([run("a", { event: 0 }), run("b", { event: 1 })], ["global_norm"]);
    const [norm] = inFront(charts, new Set(["b"]));
    expect(norm?.lines.map((line) => line.faded)).toEqual([true, false, true, false]);
    expect(norm?.overlay.events?.map((event) => event.owner)).toEqual(["b"]);
  });
});
