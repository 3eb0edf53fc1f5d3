import { describe, expect, test } from "vitest";
import { toFinite, toNumber } from "./wire";

describe("numbers of the wire", () => {
  test("non-finite words become the numbers they name", () => {
    expect([toNumber("NaN"), toNumber("Infinity"), toNumber("-Infinity")]).toEqual([NaN, Infinity, -Infinity]);
  });

  test("what is absent stays null and never becomes zero", () => {
    expect([toNumber(null), toNumber(undefined), toFinite(null)]).toEqual([null, null, null]);
  });

  test("only finite numbers can be drawn", () => {
    expect([toFinite("NaN"), toFinite("Infinity"), toFinite(0)]).toEqual([null, null, 0]);
  });
});
