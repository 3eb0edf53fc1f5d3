/** A run's history as buckets that live frames keep filling.
 *
 * The service answers at most some thousand buckets of ``bucket`` frames each, with min, max and mean. Frames that
 * arrive later join the newest bucket, or begin the next one; when there are twice as many buckets as asked for,
 * neighbours are merged. So a chart grows for days without refetching, and no spike is ever averaged away.
 */
import type { LiveFrames, MetricColumns, SeriesAnswer } from "./model";
import { toNumber, type WireNumber } from "./wire";

/** So many messages may tell only what came with the history already; more of them are an attempt that goes through it again. */
const MOST_KNOWN = 8;

export class SeriesBuffer {
  readonly step: number[];
  readonly metrics: Record<string, MetricColumns>;
  bucket: number;
  lastStep: number | null;
  readonly #counts: number[];
  readonly #limit: number;
  #lastLiveStep: number | null = null;
  #known = 0;

  constructor(answer: SeriesAnswer, limit = 2000) {
    this.step = [...answer.step];
    this.metrics = structuredClone(answer.series);
    this.bucket = Math.max(1, answer.bucket);
    this.lastStep = answer.last_step;
    this.#limit = limit;
    this.#counts = this.step.map(() => this.bucket);
    const last = this.step.length - 1;
    if (last >= 0) this.#counts[last] = Math.min(this.bucket, Math.max(1, answer.frames - last * this.bucket));
  }

  /** Add what is new. False when the steps went back: an attempt resumed earlier, so the history must be read again. */
  append(frames: LiveFrames): boolean {
    const newest = frames.step.at(-1) ?? null;
    if (newest !== null && this.lastStep !== null && newest <= this.lastStep && ++this.#known > MOST_KNOWN) return false;
    for (let row = 0; row < frames.step.length; row++) {
      const step = frames.step[row];
      if (step === undefined) continue;
      if (this.#lastLiveStep !== null && step <= this.#lastLiveStep) return false;
      this.#lastLiveStep = step;
      if (this.lastStep !== null && step <= this.lastStep) continue; // came with the history already
      this.#add(step, frameValues(frames, row));
    }
    return true;
  }

  #add(step: number, values: Record<string, number | null>): void {
    let last = this.step.length - 1;
    if (last < 0 || (this.#counts[last] ?? 0) >= this.bucket) last = this.#begin(step);
    const count = this.#counts[last] ?? 0;
    for (const [name, columns] of Object.entries(this.metrics)) {
      const value = values[name];
      if (value !== null && value !== undefined) absorb(columns, last, value, count);
    }
    this.#counts[last] = count + 1;
    this.lastStep = step;
    if (this.step.length >= this.#limit) this.#halve();
  }

  #begin(step: number): number {
    this.step.push(step);
    this.#counts.push(0);
    for (const columns of Object.values(this.metrics)) {
      columns.min.push(null);
      columns.max.push(null);
      columns.mean.push(null);
      columns.non_finite.push(0);
    }
    return this.step.length - 1;
  }

  #halve(): void {
    const half = Math.ceil(this.step.length / 2);
    for (const columns of Object.values(this.metrics)) {
      for (let to = 0; to < half; to++) mergePair(columns, to, this.#counts);
      for (const column of Object.values(columns) as unknown[][]) column.length = half;
    }
    for (let to = 0; to < half; to++) {
      this.step[to] = this.step[2 * to] ?? 0;
      this.#counts[to] = (this.#counts[2 * to] ?? 0) + (this.#counts[2 * to + 1] ?? 0);
    }
    this.step.length = half;
    this.#counts.length = half;
    this.bucket *= 2;
  }
}

/** Share of steps with a clip over the last ``window`` frames, at each bucket. */
export function rollingRate(rate: readonly (number | null)[], bucket: number, window = 100): (number | null)[] {
  const width = Math.max(1, Math.round(window / bucket));
  let sum = 0;
  let known = 0;
  return rate.map((value, index) => {
    const leaving = index >= width ? rate[index - width] : null;
    if (value !== null) (sum += value), known++;
    if (leaving !== null && leaving !== undefined) (sum -= leaving), known--;
    if (known === 0) return null;
    const share = sum / known; // sums of means drift by some 1e-16, and nothing clipped must stay 0
    return share < 1e-9 ? 0 : Math.min(1, share);
  });
}

/** True when a logarithmic axis can hold the series: something is positive and nothing is negative. */
export function fitsLogAxis(columns: MetricColumns | undefined): boolean {
  if (columns === undefined) return false;
  return columns.max.some((value) => value !== null && value > 0) && columns.min.every((value) => value === null || value >= 0);
}

/** Largest finite value of a metric, null when there is none. */
export function peakOf(columns: MetricColumns | undefined): number | null {
  return (columns?.max ?? []).reduce<number | null>((peak, value) => (value !== null && (peak === null || value > peak) ? value : peak), null);
}

/** The newest finite value: the mean of the newest bucket that has one. */
export function lastOf(columns: MetricColumns | undefined): number | null {
  return columns?.mean.findLast((value) => value !== null) ?? null;
}

function frameValues(frames: LiveFrames, row: number): Record<string, number | null> {
  const at = (column: readonly (WireNumber | null)[]): number | null => toNumber(column[row]);
  const coefficient = at(frames.clip_coefficient);
  const values: Record<string, number | null> = {
    global_norm: at(frames.global_norm),
    loss: at(frames.loss),
    clip_coefficient: coefficient,
    max_norm: at(frames.max_norm),
    lr: at(frames.lr),
    time: frames.time[row] ?? null,
  };
  values["clip_rate"] = coefficient === null || Number.isNaN(coefficient) ? null : Number(coefficient < 1);
  return values;
}

function absorb(columns: MetricColumns, at: number, value: number, count: number): void {
  if (!Number.isFinite(value)) {
    columns.non_finite[at] = (columns.non_finite[at] ?? 0) + 1;
    return;
  }
  const finite = Math.max(0, count - (columns.non_finite[at] ?? 0));
  const mean = columns.mean[at] ?? null;
  columns.min[at] = Math.min(columns.min[at] ?? value, value);
  columns.max[at] = Math.max(columns.max[at] ?? value, value);
  columns.mean[at] = mean === null ? value : mean + (value - mean) / (finite + 1);
}

function mergePair(columns: MetricColumns, to: number, counts: readonly number[]): void {
  const [a, b] = [2 * to, 2 * to + 1];
  const finite = (at: number): number => (columns.mean[at] == null ? 0 : Math.max(1, (counts[at] ?? 0) - (columns.non_finite[at] ?? 0)));
  const [left, right] = [finite(a), finite(b)];
  const mean = left + right === 0 ? null : ((columns.mean[a] ?? 0) * left + (columns.mean[b] ?? 0) * right) / (left + right);
  columns.min[to] = extreme(Math.min, columns.min[a], columns.min[b]);
  columns.max[to] = extreme(Math.max, columns.max[a], columns.max[b]);
  columns.mean[to] = mean;
  columns.non_finite[to] = (columns.non_finite[a] ?? 0) + (columns.non_finite[b] ?? 0);
}

function extreme(pick: (a: number, b: number) => number, a: number | null | undefined, b: number | null | undefined): number | null {
  if (a === null || a === undefined) return b ?? null;
  return b === null || b === undefined ? a : pick(a, b);
}
