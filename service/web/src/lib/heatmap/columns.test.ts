import { describe, expect, test } from "vitest";
import { decodeHeatmap, withTail, type HeatColumns } from "./columns";

function bytes(head: object, values: number[], counts: number[] = []): ArrayBuffer {
  let text = JSON.stringify(head);
  text += " ".repeat((4 - (text.length % 4)) % 4);
  const body = new Uint8Array(4 + text.length + 4 * values.length + 2 * counts.length);
  new DataView(body.buffer).setUint32(0, text.length, true);
  body.set(new TextEncoder().encode(text), 4);
  body.set(new Uint8Array(Float32Array.from(values).buffer), 4 + text.length);
  body.set(new Uint8Array(Uint16Array.from(counts).buffer), 4 + text.length + 4 * values.length);
  return body.buffer;
}

const columns = (step: number[], values: number[], counts: number[] | null = null): HeatColumns => ({
  layers: ["a", "b"], step, bucket: 2, gaps: [], values: Float32Array.from(values), counts: counts && Uint16Array.from(counts),
});

describe("a heat map in bytes", () => {
  const head = { layers: ["a", "b"], step: [0, 2], bucket: 2, gaps: [] };

  test("is a row of norms for each layer, and the counts of what was not finite", () => {
    const read = decodeHeatmap(bytes({ ...head, counts: true }, [1, 2, 3, NaN], [0, 0, 1, 2]));
    expect([...read.values]).toEqual([1, 2, 3, NaN]);
    expect([...(read.counts ?? [])]).toEqual([0, 0, 1, 2]);
    expect([read.layers, read.step, read.bucket]).toEqual([["a", "b"], [0, 2], 2]);
  });

  test("has no counts where everything was finite", () => expect(decodeHeatmap(bytes({ ...head, counts: false }, [1, 2, 3, 4])).counts).toBeNull());
  test("may be of no layers", () => expect(decodeHeatmap(bytes({ ...head, layers: [], step: [], counts: false }, [])).values).toHaveLength(0));
});

describe("what came since the last column began", () => {
  test("takes its place", () => {
    const joined = withTail(columns([0, 2], [1, 2, 3, 4]), columns([2, 4], [20, 21, 40, 41]));
    expect(joined?.step).toEqual([0, 2, 4]);
    expect([...(joined?.values ?? [])]).toEqual([1, 20, 21, 3, 40, 41]);
  });

  test("brings its counts along", () => {
    const joined = withTail(columns([0, 2], [1, 2, 3, 4]), columns([2], [20, NaN], [0, 3]));
    expect([...(joined?.counts ?? [])]).toEqual([0, 0, 0, 3]);
  });

  test("does not fit where the layers or the steps are others", () => {
    expect(withTail(columns([0, 2], [1, 2, 3, 4]), columns([3], [5, 6]))).toBeNull();
    expect(withTail(columns([0, 2], [1, 2, 3, 4]), { ...columns([2], [5, 6]), layers: ["a", "c"] })).toBeNull();
  });
});
