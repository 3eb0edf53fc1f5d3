import { expect, test } from "vitest";
import { takeEarly } from "./early";

const early = () => ({ early: { path: "/api/v1/dashboard?limit=20", askedAt: 1_000, answer: Promise.resolve(new Response("{}")) } });

test("an early answer is given to who asks the same, once", () => {
  const place = early();
  const { answer } = place.early;
  expect(takeEarly(place, "/api/v1/dashboard?limit=30", 1_100)).toBeNull();
  expect(takeEarly(place, "/api/v1/dashboard?limit=20", 1_100)).toBe(answer);
  expect(takeEarly(place, "/api/v1/dashboard?limit=20", 1_100)).toBeNull();
});

test("one that was asked for long ago is not", () => {
  expect(takeEarly(early(), "/api/v1/dashboard?limit=20", 3_000)).toBeNull();
});

test("nothing may have been asked early", () => {
  expect(takeEarly({}, "/api/v1/dashboard?limit=20")).toBeNull();
});
