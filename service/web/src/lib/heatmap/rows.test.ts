import { describe, expect, test } from "vitest";
import type { HeatColumns } from "./columns";
import { blockOf, found, gutterLabel, layerReader, moduleOf, rowReader, rowsOf } from "./rows";

const LAYERS = ["gru.weight", "gru.bias", "head.weight"];
const none: ReadonlySet<string> = new Set();
const shown = (rows: ReturnType<typeof rowsOf>): string[] => rows.map(({ name, group, folded }) => (group ? `${name}${folded ? "+" : "-"}` : name));

describe("the rows of a heat map", () => {
  test("are the layers in the model's order", () => expect(shown(rowsOf(LAYERS, { find: "", byModule: false, folded: none }))).toEqual(LAYERS));

  test("are those that a search finds: every word, in any order and case", () => {
    expect(found(["h.0.attn.weight", "h.1.attn.bias", "h.1.mlp.bias"], "BIAS attn")).toEqual([1]);
    expect(found(LAYERS, "  ")).toEqual([0, 1, 2]);
  });

  test("are modules, each with its layers under it until it is folded", () => {
    expect(shown(rowsOf(LAYERS, { find: "", byModule: true, folded: new Set(["gru"]) }))).toEqual(["gru+", "head-", "head.weight"]);
  });

  test("of modules hold only what the search found", () => {
    const [group] = rowsOf(LAYERS, { find: "bias", byModule: true, folded: none });
    expect(group).toMatchObject({ name: "gru", layers: [1] });
  });

  test("a layer without a module is its own", () => expect(["gru.cell.bias", "scale"].map(moduleOf)).toEqual(["gru.cell", "scale"]));
});

describe("the cells of a row", () => {
  const columns: HeatColumns = { layers: LAYERS, step: [0, 1], bucket: 1, gaps: [], values: Float32Array.from([3, NaN, 4, NaN, 1, 2]), counts: Uint16Array.from([0, 1, 0, 2, 0, 0]) };
  const rows = rowsOf(LAYERS, { find: "", byModule: true, folded: none });

  test("of a module are the norm of its layers as one vector, and all that was not finite", () => {
    const { values, counts } = rowReader(columns)(rows[0]!);
    expect([...values]).toEqual([5, NaN]);
    expect([...(counts ?? [])]).toEqual([0, 3]);
  });

  test("of a layer are its own", () => {
    expect([...rowReader(columns)(rows.at(-1)!).values]).toEqual([1, 2]);
    expect([...(layerReader(columns)("gru.weight")?.values ?? [])]).toEqual([3, NaN]);
    expect(layerReader(columns)("nose.weight")).toBeNull();
  });
});

describe("the label beside a low row", () => {
  test("is where a block of the model begins", () => {
    expect(["h.3.attn.weight", "layer1.0.conv1.weight", "gru.weight_hh_l0", "scale"].map(blockOf)).toEqual(["h.3", "layer1.0", "gru", "scale"]);
    const rows = rowsOf(["h.0.a.weight", "h.0.b.weight", "h.1.a.weight"], { find: "", byModule: false, folded: none });
    expect([0, 1, 2].map((index) => gutterLabel(rows, index, null))).toEqual(["h.0", null, "h.1"]);
    expect(gutterLabel(rows, 1, "h.0.b.weight")).toBe("h.0.b");
  });

  test("is a module's name, and the last part of a layer under it", () => {
    const rows = rowsOf(LAYERS, { find: "", byModule: true, folded: none });
    expect([0, 1, 2].map((index) => gutterLabel(rows, index, null))).toEqual(["gru", "weight", "bias"]);
  });
});
