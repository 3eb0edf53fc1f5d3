/** Where a run's attempts and its lost frames lie on the step axis, for the strip above its charts. Pure. */
import type { Attempt, Gap, SeriesAnswer } from "../model";
import type { Range } from "./zoom";

export type AttemptStart = SeriesAnswer["attempts"][number];

/** One attempt: shown from ``from`` to ``to``, and what a later one has replaced of it. */
export interface AttemptSpan extends Range {
  number: number;
  replaced: Range | null;
}

/** The attempts of one rank in the order of their steps; the number is that of their launch, as people count them. */
export function attemptSpans(shown: readonly AttemptStart[], known: readonly Attempt[], rank: number): AttemptSpan[] {
  const launched = known.filter((attempt) => attempt.rank === rank).sort((a, b) => a.started_at.localeCompare(b.started_at) || a.attempt_id.localeCompare(b.attempt_id));
  return shown.map((start, index) => {
    const place = launched.findIndex((attempt) => attempt.attempt_id === start.attempt_id);
    const next = shown[index + 1];
    const to = next === undefined ? start.last_step : Math.min(start.last_step, next.first_step - 1);
    const replaced = next !== undefined && start.last_step >= next.first_step ? { from: next.first_step, to: start.last_step } : null;
    // one that is not known yet has begun since the run was read
    return { number: (place < 0 ? Math.max(index, launched.length) : place) + 1, from: start.first_step, to, replaced };
  });
}

export interface LostSpan extends Range {
  n: number;
  reason: string;
}

/** The gaps whose steps are known and touch what is shown, at most ``most``: the longest ones. */
export function lostSpans(gaps: readonly Gap[], shown: Range, most: number): LostSpan[] {
  const placed = gaps.flatMap(({ first_step, last_step, n, reason }) => (first_step === null || last_step === null ? [] : [{ from: first_step, to: last_step, n, reason }]));
  const seen = placed.filter((gap) => gap.to >= shown.from && gap.from <= shown.to);
  return seen.sort((a, b) => b.n - a.n).slice(0, most).sort((a, b) => a.from - b.from);
}

/** Where a range lies on an axis that shows ``shown``, in shares of its width; null: outside. */
export function placeOf(range: Range, shown: Range): { left: number; width: number } | null {
  const width = Math.max(1, shown.to - shown.from);
  const [left, right] = [Math.max(0, (range.from - shown.from) / width), Math.min(1, (range.to - shown.from) / width)];
  return right < 0 || left > 1 ? null : { left, width: Math.max(0, right - left) };
}
