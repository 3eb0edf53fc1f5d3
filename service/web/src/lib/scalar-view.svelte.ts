/** The scalars that a run's own code has logged: which there are, and the columns of those that are looked at.
 *
 * Live frames do not carry them, so their history is read again now and then while the run goes on.
 */
import type { Api } from "./api";
import type { Range } from "./chart/zoom";
import type { SeriesBuffer } from "./series";
import { throttle, type Throttled } from "./throttle";
import { ZoomableSeries } from "./zoomable-series.svelte";

export const FIRST_SHOWN = 4;
export const MOST_SHOWN = 24;
const POINTS = 1000;
const READ_EVERY = 5_000;
const LOOK_FOR_NEW_EVERY = 30_000;

export class ScalarView {
  names = $state.raw<string[]>([]);
  /** Whether somebody sees them. */
  seen = false;
  /** How many there are; the service names only so many. */
  count = $state(0);
  shown = $state.raw<string[]>([]);
  #series = $state.raw<ZoomableSeries>(this.#make([]));
  #chosen: readonly string[] | null = null;
  #range: Range | null = null;
  readonly #api: Api;
  readonly #id: string;
  readonly #monitor: string | null;
  readonly #closing: AbortSignal;
  readonly #again: Throttled;
  readonly #sometimes: Throttled;

  /** ``attempt`` runs what may fail, and tells of it where the rest of the view does. */
  constructor(api: Api, id: string, monitor: string | null, closing: AbortSignal, attempt: (action: () => Promise<unknown>) => Promise<void>) {
    [this.#api, this.#id, this.#monitor, this.#closing] = [api, id, monitor, closing];
    this.#again = throttle(() => void attempt(() => this.read()), READ_EVERY);
    this.#sometimes = throttle(() => void attempt(() => this.read()), LOOK_FOR_NEW_EVERY);
  }

  get series(): SeriesBuffer | null {
    return this.#series.shown;
  }

  get whole(): SeriesBuffer | null {
    return this.#series.whole;
  }

  /** Show these; null: the first few. */
  async choose(chosen: readonly string[] | null): Promise<void> {
    this.#chosen = chosen;
    if (this.#settle()) await this.#replace();
  }

  /** Read which there are, then those that are shown. */
  async read(): Promise<void> {
    this.#again.done();
    this.#sometimes.done();
    const { names, count } = await this.#api.scalars(this.#id, this.#monitor, this.#closing);
    [this.names, this.count] = [names, count];
    if (this.#settle()) await this.#replace();
    else if (this.whole !== null) await this.#series.read(POINTS, this.#closing); // else they are on their way
  }

  async zoom(range: Range | null): Promise<void> {
    this.#range = range;
    if (this.shown.length > 0) await this.#series.zoom(range);
  }

  /** The run has gone on. */
  touch(): void {
    if (document.hidden) return;
    if (this.seen && this.shown.length > 0) this.#again();
    else this.#sometimes();
  }

  close(): void {
    this.#again.cancel();
    this.#sometimes.cancel();
    this.#series.close();
  }

  /** True where others are to be shown now. */
  #settle(): boolean {
    const known = new Set(this.names);
    const wanted = this.#chosen?.filter((name) => known.has(name)) ?? this.names.slice(0, FIRST_SHOWN);
    if (JSON.stringify(wanted) === JSON.stringify(this.shown)) return false;
    this.shown = wanted.slice(0, MOST_SHOWN);
    return true;
  }

  /** What was shown stays until the others are here. */
  async #replace(): Promise<void> {
    const names = this.shown;
    const next = this.#make(names);
    if (names.length > 0) await next.read(POINTS, this.#closing);
    if (this.shown !== names) return next.close();
    this.#series.close();
    this.#series = next;
    if (names.length > 0) await next.zoom(this.#range);
  }

  #make(names: readonly string[]): ZoomableSeries {
    return new ZoomableSeries((query, signal) => this.#api.series(this.#id, { ...query, metrics: names, monitor: this.#monitor }, signal));
  }
}
