import { describe, expect, test } from "vitest";
import { groupOfEach, seedGroups, type Seeded } from "./seeds";

const run = (name: string, config: Record<string, unknown>, more: Partial<Seeded> = {}): Seeded => ({ name, project: "p", group: null, tags: [], config, max_norm: null, ...more });
const told = (runs: Seeded[]) => seedGroups(runs).map(({ label, members }) => [label, members]);

describe("runs that differ only in their seed", () => {
  test("belong together, and are called what their names share", () => {
    const runs = [1, 2].flatMap((seed) => [run(`gru clipped, seed ${seed}`, { seed, max_norm: 0.1 }, { max_norm: 0.1 }), run(`gru unclipped, seed ${seed}`, { seed, max_norm: null })]);
    expect(told(runs)).toEqual([["gru clipped", [0, 2]], ["gru unclipped", [1, 3]]]);
    expect(groupOfEach(4, seedGroups(runs))).toEqual([0, 1, 0, 1]);
  });

  test.each(["seed", "random_seed", "data.seed", "dataSeed", "random_state", "SEED".toLowerCase()])("know %s as a seed", (key) => {
    const config = (seed: number): Record<string, unknown> => (key === "data.seed" ? { data: { seed } } : { [key]: seed });
    expect(told([run("a", config(1)), run("a", config(2))])).toEqual([["a", [0, 1]]]);
  });

  test("another key that differs sets them apart", () => expect(told([run("a", { seed: 1, lr: 1 }), run("a", { seed: 2, lr: 2 })])).toEqual([]));

  test("so does another threshold, which need not be in the configuration", () => {
    const runs = [1, 2].flatMap((seed) => [run(`try ${seed}`, { seed }, { max_norm: 0.1 }), run(`go ${seed}`, { seed }, { max_norm: "Infinity" })]);
    expect(told(runs)).toEqual([["clipped at 0.1", [0, 2]], ["not clipped", [1, 3]]]);
  });

  test("a seed may be a tag", () => expect(told([run("a", {}, { tags: ["seed-1", "big"] }), run("a", {}, { tags: ["big", "seed-2"] })])).toEqual([["a", [0, 1]]]));

  test("a group that the training names counts without any seed", () => {
    expect(told([run("x", { lr: 1 }, { group: "gru" }), run("y", { lr: 1 }, { group: "gru" })])).toEqual([["not clipped", [0, 1]]]);
  });

  test("runs that say nothing of a seed or a group are not guessed at", () => expect(told([run("a", { lr: 1 }), run("a", { lr: 1 })])).toEqual([]));
});
