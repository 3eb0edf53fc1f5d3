/** Which lines, axes and overlays a run's charts have. Pure: series and events in, charts out. */
import type { Event, Gap, MetricColumns } from "../model";
import { fitsLogAxis, lastOf, peakOf, rollingRate, type SeriesBuffer } from "../series";
import { strings } from "../strings";
import type { AttemptSpan } from "./attempts";
import type { Column, Line } from "./lines";
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
  /** Of which metrics every frame can be exported. */
  metrics?: readonly string[];
}

const SEVERITY_COLOR = { critical: "--critical", warning: "--warning", info: "--quiet" };
const words = strings.charts;

export function runCharts(series: SeriesBuffer, events: readonly Event[], gaps: readonly Gap[], attempts: readonly AttemptSpan[] = []): ChartSpec[] {
  const { global_norm: norm, loss, clip_coefficient: coefficient, clip_rate: rate, lr, max_norm: limit } = series.metrics;
  const common = commonOverlay(events, gaps, attempts);
  const nonFinite = (columns: MetricColumns | undefined): Overlay => ({ ...common, nonFinite: [{ step: nonFiniteSteps(series.step, columns), color: "--non-finite", row: 0 }] });
  const charts: ChartSpec[] = [];
  const normLines = [...band(words.norm, "--chart-norm", norm)];
  if (limit?.max.some((value) => value !== null)) normLines.push({ label: words.threshold, color: "--chart-threshold", style: "dashed", high: limit.max });
  const logLoss = fitsLogAxis(loss) && positive(loss);
  charts.push({ ...chart("loss", words.loss, logLoss ? words.logHint : "", logLoss ? "log" : "linear", 170, band(words.loss, "--chart-loss", loss), nonFinite(loss), loss), metrics: ["loss"] });
  const logNorm = fitsLogAxis(norm);
  charts.push({ ...chart("norm", words.norm, logNorm ? words.normHint : words.normHintLinear, logNorm ? "log" : "linear", 230, normLines, nonFinite(norm), norm), metrics: ["global_norm", "max_norm"] });
  const clip: Line[] = band(words.clipCoefficient, "--chart-coefficient", coefficient);
  if (rate) clip.push({ label: words.clipRate, color: "--chart-rate", style: "line", share: true, high: rollingRate(rate.mean, series.bucket) });
  charts.push({ ...chart("clip", words.clip, "", "unit", 150, clip, common, coefficient), metrics: ["clip_coefficient"] });
  charts.push({ ...chart("lr", words.lr, "", "linear", 130, lr ? [{ label: words.lr, color: "--chart-lr", style: "line", high: unbroken(lr.mean, lr) }] : [], common, lr), metrics: ["lr"] });
  return charts;
}

/** A chart for each scalar that the run's own code has logged; ``colorOf`` keeps a scalar's colour, whichever are shown. */
export function scalarCharts(series: SeriesBuffer, names: readonly string[], colorOf: (name: string) => string, overlay: Overlay): ChartSpec[] {
  return names.flatMap((name): ChartSpec[] => {
    const columns = series.metrics[name];
    if (columns === undefined) return [];
    const title = strings.scalars.name(name);
    const axis = wantsLogAxis(columns) ? "log" : "linear";
    const nonFinite = [{ step: nonFiniteSteps(series.step, columns), color: "--non-finite", row: 0 }];
    const lines = band(title, colorOf(name), columns);
    return [{ ...chart(`scalar ${name}`, title, axis === "log" ? words.logHint : "", axis, 150, lines, { ...overlay, nonFinite }, columns), metrics: [name] }];
  });
}

/** Three decades are more than a linear axis can tell apart. */
function wantsLogAxis(columns: MetricColumns): boolean {
  if (!fitsLogAxis(columns) || !positive(columns)) return false;
  const least = columns.min.reduce<number>((least, value) => Math.min(least, value ?? Infinity), Infinity);
  return (peakOf(columns) ?? 0) >= 1000 * least;
}

/** What all charts of a run have behind their lines. */
export function commonOverlay(events: readonly Event[], gaps: readonly Gap[], attempts: readonly AttemptSpan[]): Overlay {
  const seams = attempts.slice(1).map((span) => ({ step: span.from, label: strings.strip.attempt(span.number) }));
  return { events: eventBands(events), gaps: drawableGaps(gaps), ...(seams.length > 0 ? { seams } : {}) };
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
  return columns === undefined ? [] : [{ label, color, style: "band", high: unbroken(columns.max, columns), low: unbroken(columns.min, columns), nonFinite: columns.non_finite }];
}

/** A step at which nothing was logged breaks no line; one without a finite value does. */
function unbroken(values: readonly (number | null)[], columns: MetricColumns): Column {
  return values.map((value, index) => value ?? ((columns.non_finite[index] ?? 0) > 0 ? null : undefined));
}

function positive(columns: MetricColumns | undefined): boolean {
  return columns !== undefined && columns.min.every((value) => value === null || value > 0);
}

function drawableGaps(gaps: readonly Gap[]): { from: number; to: number }[] {
  return gaps.flatMap((gap) => (gap.first_step === null || gap.last_step === null ? [] : [{ from: gap.first_step, to: gap.last_step }]));
}
