import { describe, expect, test } from "vitest";
import { keyZoom, scale } from "./zoom";

const whole = { from: 0, to: 1000 };

describe("the keys of a chart", () => {
  test("+ halves what is shown, around the cursor where there is one", () => {
    expect(keyZoom("+", whole, whole, null)).toEqual({ from: 250, to: 750 });
    expect(keyZoom("+", whole, whole, 100)).toEqual({ from: 50, to: 550 });
  });

  test("pressed again and again, + ends at two single steps", () => {
    let shown = whole;
    for (let press = 0; press < 20; press++) {
      const next = keyZoom("+", shown, whole, 500);
      if (next === null || next === "whole") break;
      shown = next;
    }
    expect(shown.to - shown.from).toBe(1);
    expect(keyZoom("+", shown, whole, 500)).toBeNull();
  });

  test("− doubles it, and shows the whole rather than more than there is", () => {
    expect(keyZoom("-", { from: 400, to: 500 }, whole, null)).toEqual({ from: 350, to: 550 });
    expect(keyZoom("-", { from: 0, to: 600 }, whole, null)).toBe("whole");
    expect(keyZoom("-", { from: 5, to: 6 }, whole, null)).toEqual({ from: 5, to: 7 });
  });

  test("arrows pan by a quarter and stop at the ends", () => {
    expect(keyZoom("ArrowRight", { from: 100, to: 200 }, whole, null)).toEqual({ from: 125, to: 225 });
    expect(keyZoom("ArrowLeft", { from: 10, to: 110 }, whole, null)).toEqual({ from: 0, to: 100 });
    expect(keyZoom("ArrowRight", { from: 900, to: 1000 }, whole, null)).toBeNull();
    expect(keyZoom("ArrowLeft", whole, whole, null)).toBeNull();
  });

  test("Escape and 0 show the whole, other keys are not the chart's", () => {
    expect([keyZoom("Escape", whole, whole, null), keyZoom("0", whole, whole, null), keyZoom("Tab", whole, whole, null)]).toEqual(["whole", "whole", null]);
  });
});

test("the step under the pointer stays under it", () => {
  expect(scale({ from: 0, to: 400 }, whole, 300, 0.5)).toEqual({ from: 150, to: 350 });
});
