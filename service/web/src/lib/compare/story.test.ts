import { describe, expect, test } from "vitest";
import type { Event } from "../model";
import { fateOf, finalLoss, type Fared } from "./story";

const event = (kind: string, start_step: number, severity: Event["severity"] = "critical") => ({ kind, start_step, severity, status: "open" }) as Event;
const run = (events: Event[], loss: number | null = null, state: Fared["state"] = "finished"): Fared => ({ events, loss, state });

describe("the fate of some seeds", () => {
  test("all of them broke, each by what led to the rest", () => {
    const runs = [1479, 1843, 2542].map((step) => run([event("non_finite", step + 20), event("explosion", step)], NaN));
    expect(fateOf(runs)).toEqual({ parts: ["3 of 3 exploded between steps 1,479 and 2,542"], broke: 3, total: 3 });
  });

  test("all of them learned", () => {
    expect(fateOf([run([], 1.9e-4), run([], 3.1e-4)]).parts).toEqual(["2 of 2 reached a loss of 1.9e-4 to 3.1e-4, no event"]);
  });

  test("some broke in other ways, some go on with a warning", () => {
    const runs = [run([event("explosion", 5)]), run([event("non_finite", 7)]), run([event("instability", 3, "warning")], 0.5, "running")];
    expect(fateOf(runs).parts).toEqual(["1 of 3 exploded at step 5", "1 of 3 became non-finite at step 7", "1 of 3 is at a loss of 0.5, 1 with a warning"]);
  });

  test("information is no event, and a loss that nobody logged is not made up", () => {
    expect(fateOf([run([event("non_finite", 1, "info")])]).parts).toEqual(["logged no loss, no event"]);
  });
});

describe("the final loss", () => {
  const series = (bucket: number, mean: (number | null)[], non_finite = mean.map(() => 0)) => ({ bucket, metrics: { loss: { min: mean, max: mean, mean, non_finite } } });

  test("is the mean of the last fifty frames", () => expect(finalLoss(series(25, [9, 1, 3]))).toBe(2));
  test("is not a number where one of them was not finite", () => expect(finalLoss(series(50, [9, 1], [0, 2]))).toBeNaN());
  test("of a run that logged none is unknown", () => expect([finalLoss(series(50, [null])), finalLoss({ bucket: 1, metrics: {} })]).toEqual([null, null]));
});
