/** Some metrics of one run: the whole of it, and the range that is looked at, as fine as the service has it.
 *
 * While a range is being read the coarser columns that are here already are shown in its place, so a zoom is seen at
 * once. Ranges that lie behind the newest step do not change, so a few are kept for the way back.
 */
import type { SeriesQuery } from "./api";
import type { Range } from "./chart/zoom";
import type { LiveFrames, SeriesAnswer } from "./model";
import { SeriesBuffer } from "./series";

type Ask = (query: Pick<SeriesQuery, "points" | "from" | "to">, signal: AbortSignal) => Promise<SeriesAnswer>;

const KEPT = 8;
/** Ranges that follow each other faster than this, as while the wheel turns, are not all asked for. */
const HURRY_MILLISECONDS = 120;

export class ZoomableSeries {
  whole = $state.raw<SeriesBuffer | null>(null);
  zooming = $state(false);
  #near = $state.raw<{ range: Range; series: SeriesBuffer } | null>(null);
  #range = $state.raw<Range | null>(null);
  #request = new AbortController();
  #askedAt = -Infinity;
  readonly #kept = new Map<string, SeriesBuffer>();
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** The finest columns at hand that hold all that is looked at. */
  get shown(): SeriesBuffer | null {
    const [near, wanted] = [this.#near, this.#range];
    const covered = near !== null && wanted !== null && near.range.from <= wanted.from && near.range.to >= wanted.to;
    return covered ? near.series : this.whole;
  }

  /** Read the whole run, and what is looked at anew, since both may have changed. */
  async read(points: number, signal: AbortSignal): Promise<SeriesAnswer> {
    const answer = await this.#ask({ points }, signal);
    const again = this.whole !== null;
    this.whole = new SeriesBuffer(answer, 2 * points);
    this.#kept.clear();
    if (again && this.#range !== null) await this.zoom(this.#range);
    return answer;
  }

  /** Look at a range; null is the whole run, and costs nothing. */
  async zoom(range: Range | null): Promise<void> {
    this.#request.abort();
    this.#request = new AbortController();
    this.#range = range;
    this.zooming = false;
    if (range === null) return;
    const key = `${range.from}-${range.to}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      this.#near = { range, series: kept };
      return;
    }
    this.zooming = true;
    const { signal } = this.#request;
    try {
      if (this.#hurried()) await new Promise((resolve) => setTimeout(resolve, HURRY_MILLISECONDS));
      if (signal.aborted) return;
      const answer = await this.#ask(range, signal);
      const series = new SeriesBuffer(answer);
      this.#near = { range, series };
      if (answer.last_step !== null && answer.last_step > range.to) this.#keep(key, series);
    } finally {
      if (!signal.aborted) this.zooming = false;
    }
  }

  /** Add live frames. False: the history must be read again. */
  append(frames: LiveFrames): boolean {
    const last = frames.step.at(-1) ?? 0;
    if (this.#near !== null && this.#near.range.to >= last) this.#near.series.append(frames);
    return this.whole?.append(frames) ?? true;
  }

  close(): void {
    this.#request.abort();
  }

  #hurried(): boolean {
    const before = this.#askedAt;
    this.#askedAt = performance.now();
    return this.#askedAt - before < HURRY_MILLISECONDS;
  }

  #keep(key: string, series: SeriesBuffer): void {
    this.#kept.set(key, series);
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > KEPT && oldest !== undefined) this.#kept.delete(oldest);
  }
}
