import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Range } from "./chart/zoom";
import type { SeriesAnswer } from "./model";
import { ZoomableSeries } from "./zoomable-series.svelte";

/** A run of steps 0 to 1000 that answers when it is told to. */
function slowRun() {
  const asked: (Range | null)[] = [];
  const waiting: (() => void)[] = [];
  const series = new ZoomableSeries(({ from, to }, signal) => {
    const range = from == null || to == null ? null : { from, to };
    asked.push(range);
    const step = [range?.from ?? 0, range?.to ?? 1000];
    const answer: SeriesAnswer = { run_id: "r", monitor: "main", rank: 0, frames: 2, bucket: range ? 1 : 500, step, series: {}, gaps: [], attempts: [], last_step: 1000 };
    return new Promise((resolve, reject) => {
      waiting.push(() => resolve(answer));
      signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    });
  });
  const answered = async <T>(request: Promise<T>): Promise<T> => {
    await vi.advanceTimersByTimeAsync(1000);
    for (const go of waiting.splice(0)) go();
    return request;
  };
  const read = () => answered(series.read(1000, new AbortController().signal));
  return { series, asked, answered, read };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const shown = (series: ZoomableSeries) => [series.shown?.step, series.shown?.bucket, series.zooming];

describe("a zoom", () => {
  test("shows the coarse columns until the fine ones are here", async () => {
    const { series, read, answered } = slowRun();
    await read();
    const zoom = series.zoom({ from: 100, to: 200 });
    expect(shown(series)).toEqual([[0, 1000], 500, true]);
    await answered(zoom);
    expect(shown(series)).toEqual([[100, 200], 1, false]);
  });

  test("into a zoom starts from the finer columns, out of it from the whole", async () => {
    const { series, read, answered } = slowRun();
    await read();
    await answered(series.zoom({ from: 100, to: 200 }));
    void series.zoom({ from: 120, to: 150 }).catch(() => null);
    expect(series.shown?.bucket).toBe(1);
    void series.zoom({ from: 0, to: 800 }).catch(() => null);
    expect(series.shown?.bucket).toBe(500);
  });

  test("back to where one was asks nothing, nor does the whole run", async () => {
    const { series, asked, read, answered } = slowRun();
    await read();
    await answered(series.zoom({ from: 100, to: 200 }));
    await series.zoom(null);
    expect(shown(series)).toEqual([[0, 1000], 500, false]);
    await series.zoom({ from: 100, to: 200 });
    expect(shown(series)).toEqual([[100, 200], 1, false]);
    expect(asked).toEqual([null, { from: 100, to: 200 }]);
  });

  test("that reaches the newest step is asked for again, since it may have grown", async () => {
    const { series, asked, read, answered } = slowRun();
    await read();
    await answered(series.zoom({ from: 900, to: 1000 }));
    await series.zoom(null);
    await answered(series.zoom({ from: 900, to: 1000 }));
    expect(asked).toEqual([null, { from: 900, to: 1000 }, { from: 900, to: 1000 }]);
  });

  test("that follows another at once is asked for only if it lasts", async () => {
    const { series, asked, read, answered } = slowRun();
    await read();
    await vi.advanceTimersByTimeAsync(1000);
    for (const from of [100, 110, 120]) void series.zoom({ from, to: 200 }).catch(() => null);
    await answered(series.zoom({ from: 130, to: 200 }));
    expect(asked).toEqual([null, { from: 100, to: 200 }, { from: 130, to: 200 }]);
  });
});
