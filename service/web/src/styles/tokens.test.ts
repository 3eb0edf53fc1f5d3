import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const css = readFileSync(new URL("./tokens.css", import.meta.url), "utf8");

function tokens(block: string | undefined): Map<string, string> {
  return new Map([...(block ?? "").matchAll(/(--[\w-]+):\s*([^;]+);/g)].map(([, name = "", value = ""]) => [name, value]));
}

const system = tokens(/prefers-color-scheme: dark\) \{([\s\S]*?)\n\}/.exec(css)?.[1]);
const chosen = tokens(/data-theme="dark"\] \{([\s\S]*?)\n\}/.exec(css)?.[1]);
const light = tokens(/color-scheme: light;([\s\S]*?)\n\}/.exec(css)?.[1]);

test("dark by the system and dark by choice are the same dark", () => {
  expect(system.size).toBeGreaterThan(20);
  expect(chosen).toEqual(system);
});

test("every colour has a light and a dark value", () => expect([...system.keys()]).toEqual([...light.keys()]));

const TEXT_ON: [string, string][] = [
  ["--text", "--surface"],
  ["--text-soft", "--page"],
  ["--text-faint", "--surface"],
  ["--text-faint", "--page"],
  ["--on-accent", "--accent"],
  ["--non-finite", "--surface"],
  ...["healthy", "warning", "critical", "quiet"].map((health): [string, string] => [`--${health}`, `--${health}-soft`]),
];

test.each(TEXT_ON)("%s can be read on %s, light and dark", (front, back) => {
  for (const values of [light, system]) expect(contrast(values.get(front) ?? "", values.get(back) ?? "")).toBeGreaterThanOrEqual(4.5);
});

/** The contrast ratio of WCAG 2. */
function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function luminance(color: string): number {
  const channel = (at: number): number => {
    const value = parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}
