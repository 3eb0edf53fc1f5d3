/** The norms of all layers over steps, as the service's bytes hold them: nothing is copied until it is drawn. */
import type { Gap, HeatmapAnswer } from "../model";

/** What stands before the matrices; docs/wire.md has the format. */
export type HeatmapHead = Omit<HeatmapAnswer, "values" | "non_finite"> & { counts: boolean };

export interface HeatColumns {
  layers: readonly string[];
  /** The first step of each column. */
  step: readonly number[];
  /** About how many frames a column stands for. */
  bucket: number;
  gaps: readonly Gap[];
  /** [layer][column], the largest finite norm; NaN where there is none. */
  values: Float32Array;
  /** [layer][column], how many norms were not finite; null: all were finite. */
  counts: Uint16Array | null;
}

export function decodeHeatmap(bytes: ArrayBuffer): HeatColumns {
  const length = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length))) as HeatmapHead;
  const cells = head.layers.length * head.step.length;
  const values = new Float32Array(bytes, 4 + length, cells);
  const counts = head.counts ? new Uint16Array(bytes, 4 + length + 4 * cells, cells) : null;
  return { layers: head.layers, step: head.step, bucket: head.bucket, gaps: head.gaps, values, counts };
}

/** Put what was read from the last column's first step on in that column's place. Null: the two do not fit together. */
export function withTail(whole: HeatColumns, tail: HeatColumns): HeatColumns | null {
  const kept = whole.step.length - 1;
  const last = whole.step[kept];
  if (last === undefined || tail.step[0] !== last || tail.layers.length !== whole.layers.length) return null;
  if (tail.layers.some((name, index) => name !== whole.layers[index])) return null;
  const width = kept + tail.step.length;
  const values = spliced(whole.values, tail.values, new Float32Array(width * whole.layers.length), kept, tail.step.length);
  const zeros = (columns: HeatColumns): Uint16Array => columns.counts ?? new Uint16Array(columns.values.length);
  const counted = whole.counts !== null || tail.counts !== null;
  const counts = counted ? spliced(zeros(whole), zeros(tail), new Uint16Array(values.length), kept, tail.step.length) : null;
  return { ...whole, step: [...whole.step.slice(0, kept), ...tail.step], gaps: whole.gaps, values, counts };
}

function spliced<Numbers extends Float32Array | Uint16Array>(whole: Numbers, tail: Numbers, into: Numbers, kept: number, added: number): Numbers {
  const width = kept + added;
  for (let layer = 0; layer * width < into.length; layer++) {
    into.set(whole.subarray(layer * (kept + 1), layer * (kept + 1) + kept), layer * width);
    into.set(tail.subarray(layer * added, (layer + 1) * added), layer * width + kept);
  }
  return into;
}
