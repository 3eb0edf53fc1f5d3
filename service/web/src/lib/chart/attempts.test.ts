import { describe, expect, test } from "vitest";
import type { Attempt, Gap } from "../model";
import { attemptSpans, lostSpans, placeOf } from "./attempts";

const attempt = (attempt_id: string, started_at: string, rank = 0): Attempt => ({ attempt_id, started_at, rank }) as Attempt;
const gap = (first_step: number | null, last_step: number | null, n: number): Gap => ({ first_step, last_step, n, reason: "quota" });

describe("attempts on the step axis", () => {
  const known = [attempt("b", "2026-09-02T00:00:00Z"), attempt("a", "2026-09-01T00:00:00Z"), attempt("other", "2026-09-01T00:00:00Z", 1)];

  test("one ends where the next resumes, and what was run through again is told", () => {
    const starts = [{ attempt_id: "a", first_step: 0, last_step: 99 }, { attempt_id: "b", first_step: 80, last_step: 200 }];
    expect(attemptSpans(starts, known, 0)).toEqual([
      { number: 1, from: 0, to: 79, replaced: { from: 80, to: 99 } },
      { number: 2, from: 80, to: 200, replaced: null },
    ]);
  });

  test("one that was replaced altogether keeps its number", () => {
    const starts = [{ attempt_id: "b", first_step: 0, last_step: 9 }, { attempt_id: "new", first_step: 10, last_step: 19 }];
    expect(attemptSpans(starts, known, 0).map((span) => span.number)).toEqual([2, 3]);
  });
});

test("of many gaps the longest are told, in the order of their steps, and only those in sight", () => {
  const gaps = [gap(5, 9, 5), gap(20, 20, 1), gap(40, 60, 21), gap(200, 300, 101), gap(null, null, 7)];
  expect(lostSpans(gaps, { from: 0, to: 100 }, 2).map((span) => [span.from, span.n])).toEqual([[5, 5], [40, 21]]);
});

test("a place on the axis is cut at its ends", () => {
  expect(placeOf({ from: 25, to: 50 }, { from: 0, to: 100 })).toEqual({ left: 0.25, width: 0.25 });
  expect(placeOf({ from: -50, to: 500 }, { from: 0, to: 100 })).toEqual({ left: 0, width: 1 });
  expect(placeOf({ from: 300, to: 500 }, { from: 0, to: 100 })).toBeNull();
});
