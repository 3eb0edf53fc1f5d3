import { expect, test } from "vitest";
import { flatten } from "./config";

test("nested keys are joined, values are shown as they are", () => {
  expect(flatten({ lr: 0.5, schedule: { shape: "cosine", steps: [1, 2] }, note: null, more: {} })).toEqual([
    ["lr", "0.5"],
    ["schedule.shape", "cosine"],
    ["schedule.steps", "[1,2]"],
    ["note", "null"],
    ["more", "{}"],
  ]);
});

test("an empty configuration has no lines", () => expect(flatten({})).toEqual([]));
