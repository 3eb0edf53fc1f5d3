/** Which lines, axes and overlays a run's charts have. Pure: series and events in, charts out. */
import type { Event, Gap, MetricColumns } from "../model";
import { fitsLogAxis, lastOf, peakOf, rollingRate, type SeriesBuffer } from "../series";
import { strings } from "../strings";
import type { Line } from "./lines";
import type { EventBand, Overlay } from "./overlay";
import type { AxisKind } from "./plot";

export interface ChartSpec {
  key: string;
  title: string;
  hint: string;
  summary: string;
  axis: AxisKind;
  height: number;
  lines: Line[];
  overlay: Overlay;
}

const SEVERITY_COLOR = { critical: "--critical", warning: "--warning", info: "--quiet" };
const words = strings.charts;

export function runCharts(series: SeriesBuffer, events: readonly Event[], gaps: readonly Gap[]): ChartSpec[] {
  const { global_norm: norm, loss, clip_coefficient: coefficient, clip_rate: rate, lr, max_norm: limit } = series.metrics;
  const common = { events: eventBands(events), gaps: drawableGaps(gaps) };
  const nonFinite = (columns: MetricColumns | undefined): Overlay => ({ ...common, nonFinite: [{ step: nonFiniteSteps(series.step, columns), color: "--non-finite", row: 0 }] });
  const charts: ChartSpec[] = [];
  const normLines = [...band(words.norm, "--chart-norm", norm)];
  if (limit?.max.some((value) => value !== null)) normLines.push({ label: words.threshold, color: "--chart-threshold", style: "dashed", high: limit.max });
  charts.push(chart("norm", words.norm, words.normHint, fitsLogAxis(norm) ? "log" : "linear", 230, normLines, nonFinite(norm), norm));
  charts.push(chart("loss", words.loss, fitsLogAxis(loss) && positive(loss) ? words.logHint : "", fitsLogAxis(loss) && positive(loss) ? "log" : "linear", 170, band(words.loss, "--chart-loss", loss), nonFinite(loss), loss));
  const clip: Line[] = band(words.clipCoefficient, "--chart-coefficient", coefficient);
  if (rate) clip.push({ label: words.clipRate, color: "--chart-rate", style: "line", share: true, high: rollingRate(rate.mean, series.bucket) });
  charts.push(chart("clip", words.clip, "", "unit", 150, clip, common, coefficient));
  charts.push(chart("lr", words.lr, "", "linear", 130, lr ? [{ label: words.lr, color: "--chart-lr", style: "line", high: lr.mean }] : [], common, lr));
  return charts;
}

export function eventBands(events: readonly Event[]): EventBand[] {
  return events.map((event) => ({ from: event.start_step, to: event.status === "open" ? null : (event.end_step ?? event.start_step), color: SEVERITY_COLOR[event.severity] }));
}

export function nonFiniteSteps(step: readonly number[], columns: MetricColumns | undefined): number[] {
  return step.filter((_, index) => (columns?.non_finite[index] ?? 0) > 0);
}

function chart(key: string, title: string, hint: string, axis: AxisKind, height: number, lines: Line[], overlay: Overlay, columns: MetricColumns | undefined): ChartSpec {
  const bad = columns?.non_finite.reduce((sum, count) => sum + count, 0) ?? 0;
  return { key, title, hint, axis, height, lines, overlay, summary: words.summary(title, peakOf(columns), lastOf(columns), bad) };
}

function band(label: string, color: string, columns: MetricColumns | undefined): Line[] {
  return columns === undefined ? [] : [{ label, color, style: "band", high: columns.max, low: columns.min, nonFinite: columns.non_finite }];
}

function positive(columns: MetricColumns | undefined): boolean {
  return columns !== undefined && columns.min.every((value) => value === null || value > 0);
}

function drawableGaps(gaps: readonly Gap[]): { from: number; to: number }[] {
  return gaps.flatMap((gap) => (gap.first_step === null || gap.last_step === null ? [] : [{ from: gap.first_step, to: gap.last_step }]));
}
