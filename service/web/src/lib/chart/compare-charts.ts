/** The charts that lay runs over each other. Pure: runs' columns in, charts out; a run keeps one colour in all of them. */
import type { Event } from "../model";
import { fitsLogAxis, lastOf, peakOf, type SeriesBuffer } from "../series";
import { strings } from "../strings";
import { align } from "./align";
import type { Line } from "./lines";
import type { Marks, Overlay } from "./overlay";
import type { ChartSpec } from "./run-charts";
import { nonFiniteSteps } from "./run-charts";

export interface Compared {
  name: string;
  color: string;
  series: SeriesBuffer;
  firstEvent: Event | null;
}

const words = strings.charts;
const METRICS = [
  { key: "global_norm", title: words.norm, height: 260 },
  { key: "loss", title: words.loss, height: 220 },
  { key: "clip_coefficient", title: words.clipCoefficientTitle, height: 150 },
] as const;

/** The colour of the k-th chosen run. */
export function runColor(index: number): string {
  return `--run-${(index % 12) + 1}`;
}

export function compareCharts(runs: readonly Compared[]): { step: number[]; charts: ChartSpec[] } {
  const { step, spread } = align(runs.map((run) => run.series.step));
  const flags = runs.flatMap((run) => (run.firstEvent === null ? [] : [{ from: run.firstEvent.start_step, to: run.firstEvent.start_step, color: run.color }]));
  const charts = METRICS.map(({ key, title, height }): ChartSpec => {
    const columns = runs.map((run) => run.series.metrics[key]);
    const known = columns.filter((column) => column !== undefined);
    const log = key !== "clip_coefficient" && known.some(fitsLogAxis) && known.every((column) => fitsLogAxis(column) || column.max.every((value) => value === null));
    const lines: Line[] = runs.flatMap((run, index): Line[] => {
      const column = columns[index];
      if (column === undefined) return [];
      const look = { label: run.name, color: run.color, nonFinite: spread(index, column.non_finite) as number[] };
      // a coefficient swings between 0 and 1 at every step: bands of several runs would hide each other
      if (key === "clip_coefficient") return [{ ...look, style: "line", high: spread(index, column.mean) }];
      return [{ ...look, style: "band", high: spread(index, column.max), low: spread(index, column.min) }];
    });
    if (key === "global_norm") lines.push(...thresholds(runs, spread));
    const nonFinite: Marks[] = runs.map((run, row) => ({ step: nonFiniteSteps(run.series.step, run.series.metrics[key]), color: run.color, row }));
    const overlay: Overlay = { events: flags, nonFinite: key === "clip_coefficient" ? [] : nonFinite };
    const summary = runs.map((run) => `${run.name}: ${words.summary(title, peakOf(run.series.metrics[key]), lastOf(run.series.metrics[key]), 0)}`).join(". ");
    return { key, title, height, lines, overlay, summary, hint: key === "clip_coefficient" ? words.meanHint : log ? words.logHint : "", axis: key === "clip_coefficient" ? "unit" : log ? "log" : "linear" };
  });
  return { step, charts };
}

function thresholds(runs: readonly Compared[], spread: (run: number, column: Line["high"]) => Line["high"]): Line[] {
  return runs.flatMap((run, index) => {
    const limit = run.series.metrics["max_norm"];
    if (limit === undefined || limit.max.every((value) => value === null)) return [];
    return [{ label: words.thresholdOf(run.name), color: run.color, style: "dashed" as const, unlisted: true, high: spread(index, limit.max) }];
  });
}
