/** One run as a view shows it: read once, then kept up by live messages. Both the run and the compare view use it. */
import { ApiError, isAbort, type Api } from "./api";
import { freshness } from "./freshness.svelte";
import { Meanwhile } from "./meanwhile";
import type { Event, Gap, LayersAnswer, LiveMessage, RunDetail } from "./model";
import { applyEvent, isNews } from "./overview";
import { router } from "./router.svelte";
import { isRunId } from "./routes";
import { rollingRate, SeriesBuffer } from "./series";
import { throttle } from "./throttle";

const METRICS = ["global_norm", "loss", "clip_coefficient", "clip_rate", "max_norm", "lr"];
const LAYERS_EVERY = 3_000;
const DETAIL_EVERY = 10_000;

export class RunView {
  readonly id: string;
  run = $state.raw<RunDetail | null>(null);
  events = $state.raw<Event[]>([]);
  layers = $state.raw<LayersAnswer | null>(null);
  gaps = $state.raw<Gap[]>([]);
  error = $state.raw<ApiError | null>(null);
  zooming = $state(false);
  #whole = $state.raw<SeriesBuffer | null>(null);
  #zoomed = $state.raw<SeriesBuffer | null>(null);
  #revision = $state(0);
  #frame: number | null = null;
  readonly #api: Api;
  readonly #monitor: string | null;
  readonly #wantsLayers: boolean;
  readonly #closing = new AbortController();
  #zoom = new AbortController();
  readonly #meanwhile = new Meanwhile((message) => this.#apply(message));
  readonly #readLayers = throttle(() => void this.#try(async () => (this.layers = await this.#api.layers(this.id, this.#monitor, this.#signal))), LAYERS_EVERY);
  readonly #readDetail = throttle(() => void this.#readRun(), DETAIL_EVERY);
  readonly #readAgain = throttle(() => void this.load(), 1_000);

  constructor(api: Api, id: string, options: { monitor?: string | null; layers?: boolean } = {}) {
    this.#api = api;
    this.id = id;
    this.#monitor = options.monitor ?? null;
    this.#wantsLayers = options.layers ?? true;
  }

  /** The columns to draw: the zoomed range, or the whole run. Frames are added in place: ``revision`` tells of them. */
  get series(): SeriesBuffer | null {
    return this.#zoomed ?? this.#whole;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Share of the last hundred steps that were clipped. */
  get clipRate(): number | null {
    void this.#revision;
    const rate = this.#whole?.metrics["clip_rate"];
    return rate === undefined || this.#whole === null ? null : (rollingRate(rate.mean, this.#whole.bucket).at(-1) ?? null);
  }

  async load(points = 1000): Promise<void> {
    if (!isRunId(this.id)) {
      this.error = new ApiError("not_found", this.id);
      return;
    }
    const read = async (): Promise<void> => {
      const signal = this.#signal;
      const [run, answer, events] = await Promise.all([
        this.#api.run(this.id, signal),
        this.#api.series(this.id, { metrics: METRICS, points, monitor: this.#monitor }, signal),
        this.#api.events(this.id, signal),
      ]);
      this.#whole = new SeriesBuffer(answer, 2 * points);
      this.gaps = answer.gaps;
      this.events = events;
      this.run = run;
      this.error = null;
      this.#readDetail.done();
    };
    await this.#try(() => this.#meanwhile.during(read), true);
    if (this.#wantsLayers && this.error === null) this.#readLayers();
  }

  /** Read a range at full resolution; null shows the whole run again, without asking. */
  async zoom(range: { from: number; to: number } | null): Promise<void> {
    this.#zoom.abort();
    this.#zoom = new AbortController();
    if (range === null) {
      this.#zoomed = null;
      this.zooming = false;
      return;
    }
    this.zooming = true;
    const { signal } = this.#zoom;
    await this.#try(async () => {
      const answer = await this.#api.series(this.id, { metrics: METRICS, ...range, monitor: this.#monitor }, signal);
      this.#zoomed = new SeriesBuffer(answer);
      this.zooming = false;
    });
  }

  hear(message: LiveMessage): void {
    this.#meanwhile.note(message);
    if (this.run !== null) this.#apply(message);
  }

  #apply(message: LiveMessage): void {
    if (message.kind === "resync") return this.#readAgain();
    if (message.kind === "event" && message.event.run_id === this.id && isNews(this.events, message.event)) {
      this.events = applyEvent(this.events, message.event, Infinity);
      void this.#readRun(); // which checkpoint is clean may have changed with it
    }
    if (message.kind === "run" && message.run.run_id === this.id && this.run !== null) {
      const ended = message.run.state !== this.run.state;
      this.run = { ...this.run, ...message.run };
      if (ended) void this.#readRun();
      else this.#readDetail();
    }
    if (message.kind !== "frames" || message.frames.run_id !== this.id || this.#whole === null) return;
    const { monitor, rank } = message.frames;
    if (rank !== 0 || monitor !== (this.#monitor ?? this.run?.monitors[0] ?? "main")) return;
    if (!this.#whole.append(message.frames)) return this.#readAgain();
    if (this.#wantsLayers) this.#readLayers();
    this.#redraw();
  }

  close(): void {
    this.#closing.abort();
    this.#zoom.abort();
    for (const request of [this.#readLayers, this.#readDetail, this.#readAgain]) request.cancel();
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
  }

  get #signal(): AbortSignal {
    return this.#closing.signal;
  }

  async #readRun(): Promise<void> {
    await this.#try(async () => (this.run = await this.#api.run(this.id, this.#signal)));
  }

  /** Many messages, one drawing: at most one a frame of the screen. */
  #redraw(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#revision++;
    });
  }

  /** A failure of the first reading is shown; later ones leave what is on the screen, and its age is told. */
  async #try(action: () => Promise<unknown>, tell = false): Promise<void> {
    try {
      await action();
      freshness.read();
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "unauthorized") router.go("/login", "replace");
      else if (tell && this.run === null) this.error = error;
      else freshness.fail(() => void this.load());
      this.zooming = false;
    }
  }
}
