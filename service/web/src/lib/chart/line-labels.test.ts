import { expect, test } from "vitest";
import { apart } from "./line-labels";

const places = (ys: number[], bottom: number): number[] => apart(ys.map((y) => ({ x: 0, y })), 10, bottom).map(({ y }) => y).sort((a, b) => a - b);

test("labels that would lie over each other are moved apart, and none below the edge", () => {
  expect(places([0, 2, 50], 100)).toEqual([0, 10, 50]);
  expect(places([98, 99, 100], 100)).toEqual([80, 90, 100]);
});

test("labels of lines that end elsewhere stay where they are", () => {
  expect(apart([{ x: 0, y: 5 }, { x: 300, y: 5 }], 10, 100).map(({ y }) => y)).toEqual([5, 5]);
});
