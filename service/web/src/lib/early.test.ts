import { expect, test, vi } from "vitest";
import { askedAt, takeEarly } from "./early";

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
