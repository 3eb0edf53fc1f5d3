import { describe, expect, test } from "vitest";
import { ABSENT, gradient, inks, LEVELS, LOWEST, NON_FINITE, viridis, ZERO } from "./colours";

/** CIE lightness of an sRGB colour. */
function lightness(colour: readonly number[]): number {
  const [red = 0, green = 0, blue = 0] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 116 * Math.cbrt(0.2126 * red + 0.7152 * green + 0.0722 * blue) - 16;
}

describe("the colours of norms", () => {
  test("begin and end where viridis does, and stay there outside", () => {
    expect([viridis(0), viridis(0.5), viridis(1)]).toEqual([[68, 1, 84], [33, 145, 140], [253, 231, 37]]);
    expect([viridis(-1), viridis(2)]).toEqual([viridis(0), viridis(1)]);
  });

  test("grow lighter by the same amount from step to step, so that they can be ordered without hue", () => {
    const steps = Array.from({ length: 16 }, (_, step) => lightness(viridis((step + 1) / 16)) - lightness(viridis(step / 16)));
    for (const step of steps) expect(step).toBeGreaterThan(2.5);
    for (const step of steps) expect(step).toBeLessThan(7);
  });

  test("are beside one for zero, one for what is not finite and none for what was not measured", () => {
    const ink = inks("#010203", "#a0b0c0");
    expect([ink[ABSENT], ink[ZERO], ink[NON_FINITE]]).toEqual([0, 0xff030201, 0xffc0b0a0]);
    expect([ink[LOWEST], ink[LOWEST + LEVELS - 1]]).toEqual([0xff540144, 0xff25e7fd]);
  });

  test("make a scale", () => expect(gradient()).toMatch(/^linear-gradient\(to right, rgb\(68 1 84\), .* rgb\(253 231 37\)\)$/));
});
