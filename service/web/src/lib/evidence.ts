/** What an event says and what its evidence shows, in the words and lines of the page. Pure. */
import type { Line } from "./chart/lines";
import type { Overlay } from "./chart/overlay";
import type { ChartSpec } from "./chart/run-charts";
import { formatCount, formatNumber, formatShare, formatTimes } from "./format";
import type { Event, Evidence } from "./model";
import { strings } from "./strings";
import { toFinite, toNumber, type WireNumber } from "./wire";

const words = strings.evidence;
const LAYERS_DRAWN = 5;
const LAYERS_NAMED = 3;

export interface Fact {
  label: string;
  text: string;
  /** Worth copying, as it stands. */
  code?: string;
  bad?: boolean;
}

/** What is known of an event in few words, the most telling first; nothing is said where nothing is known. */
export function eventFacts(event: Event): Fact[] {
  const { labels } = words;
  const times = toNumber(event.times_usual);
  const facts: Fact[] = [];
  if (times !== null && event.kind === "clip_saturation") facts.push({ label: labels.coefficient, text: formatNumber(times) });
  else if (times !== null) facts.push({ label: labels.times, text: words.times(times < 0.1 ? formatNumber(times) : formatTimes(times)) });
  if (event.first_layer !== null) facts.push({ label: labels.first, text: "", code: event.first_layer });
  else if (event.layers.length > 0) facts.push({ label: labels.layers, text: moreThan(event.layers.length), code: event.layers.slice(0, LAYERS_NAMED).join(", ") });
  if (knowsWeights(event)) facts.push(weights(event));
  if (event.resume_from !== null) facts.push({ label: labels.resume, code: event.resume_from.path, text: words.checkpointStep(event.resume_from.step) });
  return facts;
}

/** The rest of what is known, once the frames around it are there. */
export function evidenceFacts(event: Event, evidence: Evidence): Fact[] {
  const { labels } = words;
  const { columns, start_row: at } = evidence;
  const around = (column: readonly WireNumber[]): string => words.change(said(column[at - 1] ?? column[at]), said(column[at]));
  const facts: Fact[] = [];
  if (evidence.last_healthy_step !== null) facts.push({ label: labels.healthy, text: formatCount(evidence.last_healthy_step) });
  if (event.batch_id !== null) facts.push({ label: labels.batch, text: "", code: event.batch_id });
  if (columns.lr.some((value) => toFinite(value) !== null)) facts.push({ label: labels.lr, text: around(columns.lr) });
  if (evidence.clip_rate_before !== null || evidence.clip_rate_after !== null) {
    facts.push({ label: labels.clip, text: words.change(formatShare(evidence.clip_rate_before), formatShare(evidence.clip_rate_after)) });
  }
  if (hasLossScale(evidence)) facts.push({ label: labels.scale, text: around(columns.loss_scale) });
  if (event.resume_from === null && event.severity === "critical") facts.push({ label: labels.resume, text: words.noCheckpoint });
  return facts;
}

export function hasLossScale(evidence: Evidence): boolean {
  return evidence.columns.loss_scale.some((value) => value !== 1);
}

/** The layers to draw: those that matter most come first in the evidence. */
export function drawnLayers(evidence: Evidence): Evidence["layers"] {
  return evidence.layers.slice(0, LAYERS_DRAWN);
}

export function evidenceCharts(event: Event, evidence: Evidence): ChartSpec[] {
  const { columns, start_row: at } = evidence;
  const alarm = columns.step[at] ?? event.start_step;
  const color = { critical: "--critical", warning: "--warning", info: "--quiet" }[event.severity];
  const band = { from: event.start_step, to: event.status === "open" ? null : (event.end_step ?? event.start_step), color };
  const overlay = (column: readonly (WireNumber | null)[]): Overlay => ({
    events: [band],
    nonFinite: [{ step: columns.step.filter((_, row) => isBad(column[row])), color: "--non-finite", row: 0 }],
  });
  const about = (what: string, column: readonly (WireNumber | null)[]): string => words.summary(summary(what, column), words.alarm(alarm));
  const norm: Line[] = [line(words.norm, "--chart-norm", columns.global_norm)];
  const limit = columns.max_norm.map(toFinite);
  if (limit.some((value) => value !== null)) norm.push({ label: strings.charts.threshold, color: "--chart-threshold", style: "dashed", high: limit });
  const charts: ChartSpec[] = [
    { key: "norm", title: words.norm, hint: strings.charts.normHint, axis: "log", height: 180, lines: norm, overlay: overlay(columns.global_norm), summary: about(words.norm, columns.global_norm) },
  ];
  if (columns.loss.some((value) => value !== null)) {
    const log = columns.loss.every((value) => (toFinite(value) ?? 1) > 0);
    charts.push({
      key: "loss", title: words.loss, hint: log ? strings.charts.logHint : "", axis: log ? "log" : "linear", height: 140,
      lines: [line(words.loss, "--chart-loss", columns.loss)], overlay: overlay(columns.loss), summary: about(words.loss, columns.loss),
    });
  }
  const layers = drawnLayers(evidence);
  if (layers.length > 0) {
    const lines = layers.map(({ name, norms }, index) => line(name, `--run-${index + 1}`, norms));
    const names = words.layersSummary(layers.map(({ name }) => name).join(", "));
    charts.push({ key: "layers", title: words.layers, hint: words.layersHint, axis: "log", height: 180, lines, overlay: { events: [band] }, summary: words.summary(names, words.alarm(alarm)) });
  }
  return charts;
}

/** A band of no height, since only bands make room on a logarithmic axis and say where they leave it. */
function line(label: string, color: string, column: readonly (WireNumber | null)[]): Line {
  const high = column.map(toFinite);
  return { label, color, style: "band", high, low: high, nonFinite: column.map((value) => Number(isBad(value))) };
}

function summary(what: string, column: readonly (WireNumber | null)[]): string {
  const finite = column.map(toFinite).filter((value) => value !== null);
  const bad = column.filter(isBad).length;
  return strings.charts.summary(what, finite.length > 0 ? Math.max(...finite) : null, toNumber(column.findLast((value) => value !== null)), bad);
}

/** Measured, and not a finite number; what was not measured is not bad. */
function isBad(value: WireNumber | null | undefined): boolean {
  return value !== null && value !== undefined && toFinite(value) === null;
}

function said(value: WireNumber | undefined): string {
  return formatNumber(toNumber(value));
}

function weights(event: Event): Fact {
  if (event.weights_finite === null) return { label: words.labels.weights, text: words.weights.unknown };
  return event.weights_finite ? { label: words.labels.weights, text: words.weights.yes } : { label: words.labels.weights, text: words.weights.no, bad: true };
}

function knowsWeights(event: Event): boolean {
  return event.kind === "non_finite" || event.kind === "explosion";
}

function moreThan(layers: number): string {
  return layers > LAYERS_NAMED ? words.moreLayers(layers - LAYERS_NAMED) : "";
}
