/** A run's layers over steps as a view shows them: read once for the whole run and once for a zoom, then kept up.
 *
 * While a run trains, only what came since the last column began is read again, and at most every few seconds.
 */
import type { Api, ApiError } from "./api";
import { attempt } from "./attempt";
import { withTail, type HeatColumns } from "./heatmap/columns";
import type { SeriesAnswer } from "./model";
import { isRunId } from "./routes";

const POINTS = 360;
const LONGEST = 2 * POINTS;

export class LayersView {
  /** The whole run, from which a layer's usual norm is taken. */
  whole = $state.raw<HeatColumns | null>(null);
  error = $state.raw<ApiError | null>(null);
  zooming = $state(false);
  #zoomed = $state.raw<HeatColumns | null>(null);
  readonly #api: Api;
  readonly #id: string;
  readonly #monitor: string | null;
  readonly #closing = new AbortController();
  #zoom = new AbortController();
  #reading = false;
  #next: ((signal: AbortSignal) => Promise<void>) | null = null;

  constructor(api: Api, id: string, monitor: string | null) {
    this.#api = api;
    this.#id = id;
    this.#monitor = monitor;
  }

  /** What to draw: the zoomed range, or the whole run. */
  get columns(): HeatColumns | null {
    return this.#zoomed ?? this.whole;
  }

  async load(): Promise<void> {
    if (!isRunId(this.#id)) return;
    await this.#once(async (signal) => {
      this.whole = await this.#api.heatmap(this.#id, { points: POINTS, monitor: this.#monitor }, signal);
      this.error = null;
    });
  }

  /** Read what came since the last column began, to the step ``last``; all of it where that does not fit. */
  async refresh(last: number): Promise<void> {
    const whole = this.whole;
    const from = whole?.step.at(-1);
    if (whole === null || from === undefined || last < from || whole.step.length >= LONGEST) return this.load();
    // a column takes up to twice its frames before there are two
    const points = Math.max(1, Math.floor((last + 1 - from) / whole.bucket));
    await this.#once(async (signal) => {
      const tail = await this.#api.heatmap(this.#id, { points: Math.min(points, POINTS), from, monitor: this.#monitor }, signal);
      this.whole = withTail(whole, tail) ?? (await this.#api.heatmap(this.#id, { points: POINTS, monitor: this.#monitor }, signal));
    });
  }

  /** Read a range at full resolution; null shows the whole run again, without asking. */
  async zoom(range: { from: number; to: number } | null): Promise<void> {
    this.#zoom.abort();
    this.#zoom = new AbortController();
    this.zooming = range !== null;
    if (range === null) {
      this.#zoomed = null;
      return;
    }
    const { signal } = this.#zoom;
    await this.#try(async () => {
      this.#zoomed = await this.#api.heatmap(this.#id, { points: POINTS, ...range, monitor: this.#monitor }, signal);
    });
    if (!signal.aborted) this.zooming = false;
  }

  /** The norm of one layer over steps. */
  series(layer: string, range: { from: number; to: number } | null, signal: AbortSignal): Promise<SeriesAnswer> {
    return this.#api.layerSeries(this.#id, layer, { ...range, monitor: this.#monitor }, signal);
  }

  close(): void {
    this.#closing.abort();
    this.#zoom.abort();
  }

  /** One reading of the whole run at a time; of those asked for meanwhile the last one follows. */
  async #once(action: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#reading) {
      this.#next = action;
      return;
    }
    this.#reading = true;
    await this.#try(() => action(this.#closing.signal));
    this.#reading = false;
    const next = this.#next;
    this.#next = null;
    if (next !== null) await this.#once(next);
  }

  async #try(action: () => Promise<void>): Promise<void> {
    await attempt(action, (error) => {
      if (this.whole === null) this.error = error;
    });
  }
}
