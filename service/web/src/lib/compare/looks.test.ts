import { expect, test } from "vitest";
import { looksOf } from "./looks";

const told = (groups: (number | null)[]): string[] => looksOf(groups).map(({ color, dash }) => `${color} ${dash.join("-")}`.trim());

test("seeds of one training share a colour and differ in their dashes", () => {
  expect(told([0, 1, 0, null, 1])).toEqual(["--run-1", "--run-2", "--run-1 9-3", "--run-3", "--run-2 9-3"]);
});

test("twelve runs are told apart by colour, and by dashes as soon as there are many", () => {
  const looks = told(new Array<null>(12).fill(null));
  expect(new Set(looks).size).toBe(12);
  expect([looks[3], looks[4], looks[8]]).toEqual(["--run-4", "--run-5 9-3", "--run-9 2-3"]);
});
