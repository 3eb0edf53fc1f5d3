import { expect, test } from "vitest";
import { differences } from "./difference";

test("nested keys are compared one by one, and what most runs have is the usual", () => {
  const rows = differences([{ lr: 0.5, model: { size: 32 } }, { lr: 0.5, model: { size: 64 } }, { lr: 0.1, model: { size: 64 } }]);
  expect(rows.map(({ key, values, unusual }) => [key, values, unusual])).toEqual([
    ["lr", ["0.5", "0.5", "0.1"], [false, false, true]],
    ["model.size", ["32", "64", "64"], [true, false, false]],
  ]);
});

test("a key that a run does not have differs, and a null that it has is another thing", () => {
  expect(differences([{ a: null }, {}])[0]).toMatchObject({ values: ["null", null], differs: true });
});

test("where no value is the usual one, none is unusual", () => {
  expect(differences([{ seed: 1 }, { seed: 2 }])[0]).toMatchObject({ differs: true, unusual: [false, false] });
});

test("what all have in common does not differ", () => expect(differences([{ a: [1] }, { a: [1] }])[0]?.differs).toBe(false));
