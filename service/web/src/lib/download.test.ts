import { expect, test } from "vitest";
import { fileName } from "./download";

test("a file is called after the run and the chart", () => {
  expect(fileName(["gru, clipped", "Gradient norm"], "png")).toBe("gru-clipped-Gradient-norm.png");
});

test("a hostile name cannot leave the folder, hide its kind or be endless", () => {
  expect(fileName(["../../etc/passwd", "Loss"], "csv")).toBe("etc-passwd-Loss.csv");
  expect(fileName(["evil\u202Egnp.exe\0", "Loss"], "csv")).toBe("evil-gnp.exe-Loss.csv");
  expect(fileName(["x".repeat(512)], "csv")).toHaveLength(104);
  expect(fileName(["<>", ""], "csv")).toBe("chart.csv");
});
