/** The charts that lay runs over each other. Pure: runs' columns in, charts out; a run looks the same in all of them. */
import type { Look } from "../compare/looks";
import type { MetricColumns } from "../model";
import { fitsLogAxis, lastOf, peakOf, rollingRate, type SeriesBuffer } from "../series";
import { strings } from "../strings";
import { align, type Alignment } from "./align";
import type { LineLabel } from "./line-labels";
import type { Line } from "./lines";
import type { Overlay } from "./overlay";
import type { ChartSpec } from "./run-charts";
import { bandOf } from "./seed-bands";

export interface Compared {
  id: string;
  name: string;
  /** What the run is called where there is no room for its name. */
  short: string;
  look: Look;
  series: SeriesBuffer;
  /** Where its buckets lie along the axis. */
  places: readonly (number | null)[];
  /** Where its first event began. */
  event: number | null;
  /** The group of seeds to draw it in; null: by itself. */
  group: { label: string; color: string } | null;
}

export interface CompareMetric {
  title: string;
  height: number;
  axis: "log" | "linear" | "unit";
  /** What many runs are drawn by: the largest of each point, so that no spike is lost, or the mean. */
  shown: "max" | "mean";
  /** Never as a band: it swings between 0 and 1 at every step, or has no spread. */
  plain: boolean;
}

const words = strings.charts;
const BANDS_UP_TO = 3; // more would hide each other
const MARKED_UP_TO = 6;
const KNOWN: Record<string, CompareMetric> = {
  global_norm: { title: words.norm, height: 260, axis: "log", shown: "max", plain: false },
  loss: { title: words.loss, height: 220, axis: "log", shown: "mean", plain: false },
  clip_coefficient: { title: words.clipCoefficientTitle, height: 150, axis: "unit", shown: "mean", plain: true },
  clip_rate: { title: strings.compare.clipRate, height: 150, axis: "unit", shown: "mean", plain: true },
  lr: { title: words.lr, height: 130, axis: "linear", shown: "mean", plain: true },
};

export const METRICS = Object.keys(KNOWN);
export const USUAL_METRICS = ["global_norm", "loss", "clip_coefficient"];

/** How a metric is drawn; what a training logged itself has a linear axis. */
export function metricOf(name: string): CompareMetric {
  return KNOWN[name] ?? { title: name, height: 170, axis: "linear", shown: "mean", plain: false };
}

export function compareCharts(runs: readonly Compared[], metrics: readonly string[]): { x: number[]; charts: ChartSpec[] } {
  const alignment = align(runs.map((run) => run.places));
  return { x: alignment.x, charts: metrics.map((name) => chartOf(name, runs, alignment)) };
}

/** The charts with only some owners' lines in front; null: all of them. */
export function inFront(charts: readonly ChartSpec[], owners: ReadonlySet<string> | null): ChartSpec[] {
  if (owners === null) return [...charts];
  const behind = ({ owner }: { owner?: string }): boolean => owner !== undefined && !owners.has(owner);
  const faded = <Owned extends { owner?: string }>(line: Owned): Owned & { faded: boolean } => ({ ...line, faded: behind(line) });
  const kept = <Owned extends { owner?: string }>(marks: readonly Owned[] | undefined): Owned[] => (marks ?? []).filter((mark) => !behind(mark));
  return charts.map(({ lines, overlay, ...chart }) => ({
    ...chart,
    lines: lines.map(faded),
    overlay: { ...overlay, labels: (overlay.labels ?? []).map(faded), events: kept(overlay.events), nonFinite: kept(overlay.nonFinite) },
  }));
}

/** Whose the lines of a group of seeds are. */
export function ownerOf(group: string): string {
  return `group ${group}`;
}

function chartOf(name: string, runs: readonly Compared[], alignment: Alignment): ChartSpec {
  const metric = metricOf(name);
  const columns = runs.map((run) => columnsOf(name, run.series));
  const known = columns.filter((column) => column !== undefined);
  const fits = known.some(fitsLogAxis) && known.every((column) => fitsLogAxis(column) || column.max.every((value) => value === null));
  const axis = metric.axis === "log" && !fits ? "linear" : metric.axis;
  const single = runs.flatMap((run, index) => (run.group === null ? lineOf(run, columns[index], index, metric, runs.length, alignment) : []));
  const grouped = bands(runs, columns, metric, alignment);
  const lines = [...single, ...grouped];
  const labels = lines.flatMap((line): LineLabel[] => (line.short === undefined || line.unlisted ? [] : [{ text: line.short, color: line.color, high: line.high, ...(line.owner === undefined ? {} : { owner: line.owner }) }]));
  if (name === "global_norm") lines.push(...thresholds(runs, alignment));
  const asBands = !metric.plain && runs.length <= BANDS_UP_TO;
  const exact = runs.every(({ series }) => series.bucket === 1);
  const drawnBy = exact || asBands || name === "clip_rate" || name === "lr" ? "" : metric.shown === "mean" ? words.meanHint : strings.compare.maxHint;
  const hint = [grouped.length > 0 ? strings.compare.seedHint : drawnBy, axis === "log" ? words.logHint : ""];
  const summary = runs.map((run, index) => `${run.name}: ${words.summary(metric.title, peakOf(columns[index]), lastOf(columns[index]), 0)}`).join(". ");
  return { key: name, title: metric.title, height: metric.height, lines, overlay: { ...overlayOf(runs, columns, metric), labels }, summary, hint: hint.filter((part) => part !== "").join(", "), axis };
}

function columnsOf(name: string, series: SeriesBuffer): MetricColumns | undefined {
  const columns = series.metrics[name];
  return name === "clip_rate" && columns !== undefined ? { ...columns, mean: rollingRate(columns.mean, series.bucket) } : columns;
}

function lineOf(run: Compared, column: MetricColumns | undefined, index: number, metric: CompareMetric, count: number, { spread }: Alignment): Line[] {
  if (column === undefined) return [];
  const nonFinite = spread(index, column.non_finite, "sum").map((value) => value ?? 0);
  const look = { label: run.name, short: run.short, ...run.look, owner: run.id, nonFinite, share: metric.title === strings.compare.clipRate };
  if (metric.plain || count > BANDS_UP_TO) return [{ ...look, style: "line", high: spread(index, column[metric.shown], metric.shown) }];
  return [{ ...look, style: "band", high: spread(index, column.max, "max"), low: spread(index, column.min, "min") }];
}

/** Each group of seeds as the range of its runs, with their median in it. */
function bands(runs: readonly Compared[], columns: readonly (MetricColumns | undefined)[], metric: CompareMetric, { spread }: Alignment): Line[] {
  const groups = new Map<string, { color: string; members: number[] }>();
  runs.forEach(({ group }, index) => {
    if (group === null) return;
    const found = groups.get(group.label) ?? { color: group.color, members: [] };
    groups.set(group.label, { ...found, members: [...found.members, index] });
  });
  return [...groups].flatMap(([label, { color, members }]): Line[] => {
    const known = members.flatMap((index) => {
      const column = columns[index];
      return column === undefined ? [] : [spread(index, column[metric.shown], metric.shown)];
    });
    if (known.length === 0) return [];
    const { low, median, high } = bandOf(known);
    const lost = totals(members.map((index) => spread(index, columns[index]?.non_finite ?? [], "sum")));
    const owner = ownerOf(label);
    return [
      { label: strings.compare.rangeOf(label), color, style: "band", high, low, owner, unlisted: true },
      { label: strings.compare.medianOf(label), short: label, color, style: "line", high: median, owner, nonFinite: lost },
    ];
  });
}

function totals(columns: readonly Line["high"][]): number[] {
  return (columns[0] ?? []).map((_, index) => columns.reduce((sum, column) => sum + (column[index] ?? 0), 0));
}

function overlayOf(runs: readonly Compared[], columns: readonly (MetricColumns | undefined)[], metric: CompareMetric): Overlay {
  const events = runs.flatMap((run) => (run.event === null ? [] : [{ from: run.event, to: run.event, color: run.look.color, owner: run.id }]));
  const bad = runs.map((run, index) => ({ color: run.look.color, owner: run.id, step: run.places.flatMap((place, at) => (place !== null && (columns[index]?.non_finite[at] ?? 0) > 0 ? [place] : [])) }));
  const marked = bad.filter(({ step }) => step.length > 0).slice(0, MARKED_UP_TO);
  return { events, nonFinite: metric.axis === "unit" ? [] : marked.map((marks, row) => ({ ...marks, row })) };
}

/** The limits of the runs; those that are the same for a colour are drawn once. */
function thresholds(runs: readonly Compared[], { spread }: Alignment): Line[] {
  const drawn = new Set<string>();
  return runs.flatMap((run, index): Line[] => {
    const limit = run.series.metrics["max_norm"];
    const key = `${run.look.color} ${peakOf(limit)}`;
    if (limit === undefined || peakOf(limit) === null || drawn.has(key)) return [];
    drawn.add(key);
    return [{ label: words.thresholdOf(run.name), color: run.look.color, style: "dashed", unlisted: true, owner: run.id, high: spread(index, limit.max, "max") }];
  });
}
