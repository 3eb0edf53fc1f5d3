/** How a group of seeds fared, in words: how many broke and when, how many learned and how far. Pure. */
import { worstOf } from "../describe";
import type { Event, RunDetail } from "../model";
import type { SeriesBuffer } from "../series";
import { strings } from "../strings";

export interface Fared {
  events: readonly Event[];
  /** Of its last steps; null where no loss was logged, NaN where it was not finite. */
  loss: number | null;
  state: RunDetail["state"];
}

export interface Fate {
  /** What happened, a part a sentence's clause. */
  parts: string[];
  broke: number;
  total: number;
}

const words = strings.compare.fate;
const LOSS_FRAMES = 50;

export function fateOf(runs: readonly Fared[]): Fate {
  const broken = runs.flatMap((run) => {
    const worst = worstOf(run.events.filter((event) => event.severity === "critical"));
    return worst === null ? [] : [worst];
  });
  const well = runs.filter((run) => run.events.every((event) => event.severity !== "critical"));
  const parts = [...new Set(broken.map((event) => event.kind))].map((kind) => {
    const steps = broken.flatMap((event) => (event.kind === kind ? [event.start_step] : []));
    return words.broke(steps.length, runs.length, strings.compare.verb[kind] ?? strings.compare.verbOther(strings.kind[kind] ?? kind), Math.min(...steps), Math.max(...steps));
  });
  if (well.length > 0) parts.push(describeWell(well, runs.length));
  return { parts, broke: broken.length, total: runs.length };
}

/** The mean loss of the newest fifty frames, or of the newest bucket where that holds more; NaN where one was not finite. */
export function finalLoss(series: Pick<SeriesBuffer, "bucket" | "metrics">): number | null {
  const loss = series.metrics["loss"];
  if (loss === undefined) return null;
  const buckets = Math.max(1, Math.round(LOSS_FRAMES / series.bucket));
  const means = loss.mean.slice(-buckets).filter((mean) => mean !== null);
  if (loss.non_finite.slice(-buckets).some((count) => count > 0)) return NaN;
  return means.length === 0 ? null : means.reduce((sum, mean) => sum + mean, 0) / means.length;
}

function describeWell(runs: readonly Fared[], total: number): string {
  const losses = runs.flatMap(({ loss }) => (loss === null || Number.isNaN(loss) ? [] : [loss]));
  const warned = runs.filter((run) => run.events.some((event) => event.severity === "warning")).length;
  const going = runs.some((run) => run.state === "running" || run.state === "paused");
  const learned = losses.length === 0 ? words.noLoss(runs.length, total) : words.learned(runs.length, total, Math.min(...losses), Math.max(...losses), going);
  return `${learned}, ${warned === 0 ? words.noEvent : words.warned(warned)}`;
}
