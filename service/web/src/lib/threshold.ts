/** What any clip threshold would have clipped, from a histogram of norms; the same arithmetic as the service's own. */
import type { AdviceAnswer } from "./model";

const LARGEST_FLOAT32 = 3.4028234663852886e38;

export interface Judgement {
  maxNorm: number;
  /** At least so many; exact for a number of up to three digits, where a bucket ends. */
  clipped: number;
  clippedAtMost: number;
  clipRate: number | null;
  healthyClipped: number;
  healthyClipRate: number | null;
  /** What gradients would have been multiplied by on average, to half a percent. */
  meanClipCoefficient: number;
}

type Told = Pick<AdviceAnswer, "frames" | "healthy_frames" | "histogram">;

export function judgeThreshold({ frames, healthy_frames: healthyFrames, histogram }: Told, maxNorm: number): Judgement {
  let [clipped, clippedAtMost, healthyClipped, positive, coefficients] = [0, 0, 0, 0, 0];
  for (let index = 0; index < histogram.frames.length; index++) {
    const count = histogram.frames[index] ?? 0;
    const above = histogram.above[index] ?? 0;
    const upTo = histogram.up_to[index] ?? null;
    positive += count;
    if (above >= maxNorm) {
      clipped += count;
      healthyClipped += histogram.healthy[index] ?? 0;
    }
    if ((upTo ?? Infinity) > maxNorm) clippedAtMost += count;
    coefficients += count * Math.min(1, maxNorm / (0.5 * (above + (upTo ?? LARGEST_FLOAT32))));
  }
  const zeros = frames - positive; // frames without any gradient have no bucket, and are never clipped
  return {
    maxNorm,
    clipped,
    clippedAtMost,
    clipRate: frames === 0 ? null : clipped / frames,
    healthyClipped,
    healthyClipRate: healthyFrames === 0 ? null : healthyClipped / healthyFrames,
    meanClipCoefficient: frames === 0 ? 1 : (zeros + coefficients) / frames,
  };
}

/** The nearest number of three significant digits: for these the counts are exact. */
export function toThreeDigits(value: number): number {
  return Number(value.toPrecision(3));
}

/** The next number of two significant digits above (or, ``direction`` -1, below) a threshold. */
export function nextThreshold(value: number, direction: 1 | -1): number {
  const power = Math.floor(Math.log10(value) + 1e-12) - 1;
  const units = Number((value / Number(`1e${power}`)).toPrecision(12));
  const next = direction > 0 ? Math.floor(units) + 1 : Math.ceil(units) - 1;
  return next < 10 ? Number(`99e${power - 1}`) : Number(`${next}e${power}`);
}

/** Round thresholds, 1-2-5, between the ends of an axis: the histogram as a table. */
export function roundThresholds([low, high]: readonly [number, number]): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of [1, 2, 5]) {
      const value = Number(`${digit}e${power}`);
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value);
    }
  }
  return found;
}

/** Where the line stands until a person moves it: at the advice, else where it is now, else above half of the norms. */
export function firstThreshold(advice: AdviceAnswer): number {
  return advice.suggested_max_norm ?? advice.newest.max_norm ?? middleOf(advice);
}

function middleOf({ histogram }: AdviceAnswer): number {
  const half = histogram.frames.reduce((sum, count) => sum + count, 0) / 2;
  let below = 0;
  const index = histogram.frames.findIndex((count) => (below += count) >= half);
  return histogram.up_to[index] ?? 1;
}
