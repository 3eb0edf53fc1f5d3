import { expect, test } from "vitest";
import { environmentLines, isLoopback } from "./first-steps";

test("loopback goes by many names, and a name that only looks like one does not", () => {
  expect(["localhost", "127.0.0.1", "127.8.0.1", "[::1]", "gv.localhost"].map(isLoopback)).toEqual([true, true, true, true, true]);
  expect(["node7", "10.0.0.1", "127.0.0.1.example.org", "localhost.example.org"].map(isLoopback)).toEqual([false, false, false, false]);
});

test("a training elsewhere is told the address of the page, and to bring a token", () => {
  expect(environmentLines("https://gv.example.org", "<ingest token>")).toEqual(["export GRADVITALS_URL=https://gv.example.org", "export GRADVITALS_TOKEN=<ingest token>"]);
});
