import { describe, expect, test } from "vitest";
import { columnAt, edgesOf, inView, layoutOf, pixelColumns, rowAt, scrollTo, usualSize, VIEWPORT } from "./place";

describe("rows", () => {
  const layout = layoutOf(2000, "compact"); // of 13 pixels each

  test("of which only those in view are drawn", () => {
    expect(inView(layout, 0)).toEqual([0, 32]);
    expect(inView(layout, 1300)).toEqual([100, 132]);
    expect(inView(layout, 2000 * 13 - VIEWPORT)).toEqual([1968, 2000]);
  });

  test("are found under a point, wherever they were scrolled to", () => {
    expect([rowAt(layout, 0, 0), rowAt(layout, 1300, 14), rowAt(layout, 0, VIEWPORT), rowAt(layout, 0, -1)]).toEqual([0, 101, null, null]);
    expect(rowAt(layoutOf(2, "named"), 0, 59)).toBe(1);
  });

  test("come into view by the shortest way", () => {
    expect([scrollTo(layout, 130, 3), scrollTo(layout, 130, 20), scrollTo(layout, 0, 40)]).toEqual([39, 130, 41 * 13 - VIEWPORT]);
  });

  test("have their names where there are few, and the room of a page where there are thousands", () => {
    expect([usualSize(3), usualSize(200)]).toEqual(["named", "compact"]);
    expect([layoutOf(3, "named").viewport, layoutOf(2000, "all").viewport]).toEqual([90, VIEWPORT]);
    expect(rowAt(layoutOf(2000, "all"), 0, VIEWPORT / 2)).toBe(1000);
  });
});

describe("columns", () => {
  test("reach to where the next one begins, the last one to the newest step", () => {
    expect([...edgesOf({ step: [0, 10, 20], bucket: 10 }, 24)]).toEqual([0, 10, 20, 25]);
    expect([...edgesOf({ step: [0, 10, 20], bucket: 10 }, null)]).toEqual([0, 10, 20, 30]);
  });

  test("of one step lie around it", () => expect([...edgesOf({ step: [5, 6], bucket: 1 }, 6)]).toEqual([4.5, 5.5, 6.5]));

  test("are found by a step", () => {
    const edges = Float64Array.from([0, 10, 20, 25]);
    expect([0, 9.9, 10, 24, 25, -1].map((step) => columnAt(edges, step))).toEqual([0, 0, 1, 2, null, null]);
  });

  test("share a pixel where there are more of them, so that none is left out", () => {
    const edges = Float64Array.from([0, 1, 2, 3, 4]);
    expect([...pixelColumns(edges, [], [0, 4], 2)]).toEqual([0, 1, 2, 3]);
    expect([...pixelColumns(edges, [], [0, 8], 4)]).toEqual([0, 1, 2, 3, -1, -1, -1, -1]);
  });

  test("are not drawn where frames are missing", () => {
    const gap = { first_step: 10, last_step: 19, n: 10, reason: "quota" };
    expect([...pixelColumns(Float64Array.from([0, 20, 40]), [gap], [0, 40], 4)]).toEqual([0, 0, -1, -1, 1, 1, 1, 1]);
  });
});
