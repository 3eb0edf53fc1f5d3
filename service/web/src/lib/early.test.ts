import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { Api } from "./api";
import { EVERYTHING } from "./choice";
import { askedAt, takeEarly } from "./early";
import { RUNS_A_PAGE } from "./overview";

const early = () => ({ early: { path: "/api/v1/dashboard?limit=20", askedAt: 1_000, answer: Promise.resolve(new Response("{}")) } });

test("an early answer is given to who asks the same, once", () => {
  const place = early();
  const { answer } = place.early;
  expect(takeEarly(place, "/api/v1/dashboard?limit=30")).toBeNull();
  expect(takeEarly(place, "/api/v1/dashboard?limit=20")).toBe(answer);
  expect(takeEarly(place, "/api/v1/dashboard?limit=20")).toBeNull();
});

test("a view began to read when it was asked for, or else now", () => {
  vi.spyOn(Date, "now").mockReturnValue(5_000);
  expect(askedAt(early())).toBe(1_000);
  expect(askedAt({})).toBe(5_000);
});

test("what is asked early is what the overview asks", async () => {
  const asked: string[] = [];
  await new Api(async (path) => (asked.push(path), new Response("{}"))).dashboard(EVERYTHING, { limit: RUNS_A_PAGE });
  expect(readFileSync("public/early.js", "utf8")).toContain(`"${asked[0]}"`);
});
