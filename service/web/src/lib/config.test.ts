import { expect, test } from "vitest";
import { environmentOf, flatten, matching } from "./config";
import type { Attempt } from "./model";

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

test("a search looks into keys and values, in any case", () => {
  const lines: [string, string][] = [["optimizer.name", "AdamW"], ["lr", "0.5"], ["note", "as adam did"]];
  expect(matching(lines, " ADAM ")).toEqual([lines[0], lines[2]]);
  expect(matching(lines, "lr")).toEqual([lines[1]]);
  expect(matching(lines, "")).toEqual(lines);
});

const monitor = (more: object) => ({ optimizer: "SGD", max_norm: null, clip_value: null, norm_type: 2, ...more }) as Attempt["monitors"][string];
const attempt = (more: Partial<Attempt>) => ({ launch: "1", rank: 0, world_size: 1, host: "node7", monitors: {}, ...more }) as Attempt;

test("the environment is that of the newest launch: versions, hosts, ranks, optimizer and clip", () => {
  const old = attempt({ launch: "0", host: "laptop" });
  const ranks = [0, 1].map((rank) => attempt({ rank, world_size: 2, host: `node${8 - rank}`, monitors: rank === 0 ? { main: monitor({ max_norm: 0.1 }) } : {} }));
  expect(environmentOf({ versions: { torch: "2.13.0" }, attempts: [old, ...ranks] })).toEqual([
    ["torch", "2.13.0"],
    ["host", "node7, node8"],
    ["ranks", "2"],
    ["optimizer", "SGD"],
    ["clips", "norm at 0.1"],
  ]);
});

test("two optimizers are told apart, and every way to clip has words", () => {
  const monitors = { main: monitor({ max_norm: 1, norm_type: "Infinity" }), critic: monitor({ optimizer: null, clip_value: 0.5 }), head: monitor({ max_norm: "Infinity" }) };
  expect(Object.fromEntries(environmentOf({ versions: {}, attempts: [attempt({ monitors })] }))).toMatchObject({
    "main.clips": "norm at 1, of type ∞",
    "critic.clips": "each value at 0.5",
    "head.clips": "nothing",
  });
  expect(environmentOf({ versions: {}, attempts: [] })).toEqual([]);
});
