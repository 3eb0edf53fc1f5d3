import { describe, expect, test } from "vitest";
import type { HeatColumns } from "./columns";
import { rowReader, rowsOf } from "./rows";
import { cellsForFile, cellWords, mapWords } from "./say";

const columns: HeatColumns = { layers: ["gru.weight", "gru.bias"], step: [0, 10, 20], bucket: 10, gaps: [], values: Float32Array.from([3, 8, NaN, 4, 0, NaN]), counts: Uint16Array.from([0, 2, 10, 0, 0, 0]) };
const rows = rowsOf(columns.layers, { find: "", byModule: true, folded: new Set() });
const cells = rowReader(columns);
const say = (row: number, column: number) => cellWords(columns, rows[row]!, cells(rows[row]!), column, 24);

describe("a cell in words", () => {
  test("names the layer, the steps and the largest norm", () => expect(say(2, 0)).toEqual({ name: "gru.bias", steps: "steps 0 to 9", value: "4", bad: false }));
  test("of a module says that the norm was at most that", () => expect(say(0, 0)).toEqual({ name: "gru (2 layers)", steps: "steps 0 to 9", value: "at most 5", bad: false }));

  test("says what is not finite, beside what is", () => {
    expect(say(1, 1)).toMatchObject({ value: "2 norms not finite, others up to 8", bad: true });
    expect(say(1, 2)).toMatchObject({ value: "10 norms not finite", steps: "steps 20 to 24" });
  });

  test("tells no gradient from nothing measured", () => expect([say(2, 1).value, say(2, 2).value]).toEqual(["no gradient", "not measured"]));
});

test("the map in words: where the norm is largest and what was not finite", () => {
  expect(mapWords(columns, rows)).toBe("Heat map of the norms of 2 layers over the run's steps. Largest in gru.weight. 1 layer not finite somewhere, gru.weight among them. ");
});

test("a file has a line a row and says where norms were not finite", () => {
  expect(cellsForFile(columns, rowsOf(columns.layers, { find: "", byModule: false, folded: new Set() }))).toEqual([
    ["Layer", 0, 10, 20],
    ["gru.weight", 3, "NaN", "NaN"],
    ["gru.bias", 4, 0, null],
  ]);
});
