import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { typesFrom } from "../../dev/openapi-types.mjs";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

test("the types are those of openapi.json; `npm run types` makes both anew", async () => {
  expect(read("./api-types.ts")).toBe(await typesFrom(read("../../openapi.json")));
});
