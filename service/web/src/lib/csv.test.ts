import { describe, expect, test } from "vitest";
import { toCsv } from "./csv";

describe("a table as CSV", () => {
  test("numbers keep every digit, nothing is an empty cell", () => {
    expect(toCsv([["step", "loss"], [1, 0.1 + 0.2], [2, null], [3, -1e-12]])).toBe("step,loss\r\n1,0.30000000000000004\r\n2,\r\n3,-1e-12\r\n");
  });

  test("commas, quotes, lines and spaces at the ends are quoted", () => {
    expect(toCsv([["a,b", 'say "x"', "two\nlines", " end "]])).toBe('"a,b","say ""x""","two\nlines"," end "\r\n');
  });

  test.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", '=HYPERLINK("http://x","y")'])("the name %j never becomes a formula", (name) => {
    expect(toCsv([[name]]).replace(/^"/, "")).toMatch(/^'/);
  });
});
