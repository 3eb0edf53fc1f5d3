/** One run as a view shows it: read once, then kept up by live messages. Both the run and the compare view use it. */
import { ApiError, type Api } from "./api";
import { attempt } from "./attempt";
import type { AttemptStart } from "./chart/attempts";
import type { Range } from "./chart/zoom";
import { freshness } from "./freshness.svelte";
import { Meanwhile } from "./meanwhile";
import type { EventForPeople, Gap, LayersAnswer, LiveMessage, RunDetail } from "./model";
import { applyEvent, isNews } from "./overview";
import { isRunId } from "./routes";
import { ScalarView } from "./scalar-view.svelte";
import { rollingRate, type SeriesBuffer } from "./series";
import { throttle } from "./throttle";
import { ZoomableSeries } from "./zoomable-series.svelte";

const METRICS = ["global_norm", "loss", "clip_coefficient", "clip_rate", "max_norm", "lr"];
const LAYERS_EVERY = 5_000;
/** What live messages do not tell (checkpoints, attempts, delivery) is read again, sooner where somebody may wait for it. */
const DETAIL_EVERY = 30_000;
const DETAIL_OF_SICK_EVERY = 10_000;

export class RunView {
  readonly id: string;
  run = $state.raw<RunDetail | null>(null);
  events = $state.raw<EventForPeople[]>([]);
  layers = $state.raw<LayersAnswer | null>(null);
  gaps = $state.raw<Gap[]>([]);
  attempts = $state.raw<AttemptStart[]>([]);
  readonly scalars: ScalarView;
  error = $state.raw<ApiError | null>(null);
  /** Why what was said last of an event is not kept. */
  problem = $state<string | null>(null);
  /** How often all of it was read: what is read beside it must be read again then, too. */
  loads = $state(0);
  #revision = $state(0);
  #frame: number | null = null;
  readonly #api: Api;
  readonly #monitor: string | null;
  readonly #wantsScalars: boolean;
  readonly #points: number;
  #metrics: readonly string[];
  readonly #closing = new AbortController();
  readonly #main = new ZoomableSeries((query, signal) => this.#api.series(this.id, { ...query, metrics: this.#metrics, monitor: this.#monitor }, signal));
  readonly #meanwhile = new Meanwhile((message) => this.#apply(message));
  /** Read the layers of the newest step, but not too often. */
  readonly readLayers = throttle(() => void this.#try(async () => (this.layers = await this.#api.layers(this.id, this.#monitor, this.#signal))), LAYERS_EVERY);
  readonly #readDetail = throttle(() => void this.#readRun(), DETAIL_EVERY);
  readonly #readDetailOfSick = throttle(() => void this.#readRun(), DETAIL_OF_SICK_EVERY);
  readonly #readAgain = throttle(() => void this.load(), 1_000);

  constructor(api: Api, id: string, options: { monitor?: string | null; scalars?: boolean; metrics?: readonly string[]; points?: number } = {}) {
    this.#api = api;
    this.id = id;
    this.#monitor = options.monitor ?? null;
    this.#wantsScalars = options.scalars ?? true;
    this.#metrics = options.metrics ?? METRICS;
    this.#points = options.points ?? 1000;
    this.scalars = new ScalarView(api, id, this.#monitor, this.#signal, (action) => this.#try(action));
  }

  /** The columns to draw: the zoomed range, or the whole run. Frames are added in place: ``revision`` tells of them. */
  get series(): SeriesBuffer | null {
    return this.#main.shown;
  }

  /** The columns of the whole run, zoomed or not. */
  get whole(): SeriesBuffer | null {
    return this.#main.whole;
  }

  get zooming(): boolean {
    return this.#main.zooming;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Share of the last hundred steps that were clipped. */
  get clipRate(): number | null {
    void this.#revision;
    const rate = this.whole?.metrics["clip_rate"];
    return rate === undefined || this.whole === null ? null : (rollingRate(rate.mean, this.whole.bucket).at(-1) ?? null);
  }

  async load(points = this.#points): Promise<void> {
    if (!isRunId(this.id)) {
      this.error = new ApiError("not_found", this.id);
      return;
    }
    if (this.#wantsScalars) void this.#try(() => this.scalars.read());
    const read = async (): Promise<void> => {
      const signal = this.#signal;
      const [run, events] = await Promise.all([
        this.#api.run(this.id, signal),
        this.#api.events(this.id, signal),
        this.#main.read(points, signal).then((answer) => ([this.gaps, this.attempts] = [answer.gaps, answer.attempts])),
      ]);
      this.events = events;
      this.run = run;
      this.error = null;
      this.loads++;
      this.#readDetail.done();
      this.#readDetailOfSick.done();
    };
    await this.#try(() => this.#meanwhile.during(read), true);
  }

  /** Read a range at full resolution; null shows the whole run again, without asking. */
  async zoom(range: Range | null): Promise<void> {
    await Promise.all([this.#try(() => this.#main.zoom(range)), this.#try(() => this.scalars.zoom(range))]);
  }

  /** Which scalars to show; null: the first few. */
  async chooseScalars(names: readonly string[] | null): Promise<void> {
    await this.#try(() => this.scalars.choose(names));
  }

  /** Read these metrics from now on. A zoomed range keeps the old ones until it is asked for again. */
  async want(metrics: readonly string[]): Promise<void> {
    this.#metrics = metrics;
    await this.load();
  }

  /** Say that one has taken note of an event. The live connection tells of it too; here it is at once. */
  async acknowledge(event: EventForPeople, note: string): Promise<void> {
    await this.#say(() => this.#api.acknowledge(event, note));
  }

  async takeBack(event: EventForPeople): Promise<void> {
    await this.#say(() => this.#api.takeBack(event));
  }

  async #say(word: () => Promise<EventForPeople>): Promise<void> {
    this.problem = null;
    const keep = async (): Promise<unknown> => (this.events = applyEvent(this.events, await word(), Infinity));
    await attempt(keep, (error) => (this.problem = error.message));
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
      if (ended) this.#readAgain(); // all there is to know, and the last frames if they came too early to be heard
      else if (this.events.some((event) => event.status === "open")) this.#readDetailOfSick();
      else this.#readDetail();
    }
    if (message.kind !== "frames" || message.frames.run_id !== this.id || this.whole === null) return;
    const { monitor, rank } = message.frames;
    if (rank !== 0 || monitor !== (this.#monitor ?? this.run?.monitors[0] ?? "main")) return;
    if (!this.#main.append(message.frames)) return this.#readAgain();
    if (this.#wantsScalars) this.scalars.touch();
    this.#redraw();
  }

  close(): void {
    this.#closing.abort();
    this.#main.close();
    this.scalars.close();
    for (const request of [this.readLayers, this.#readDetail, this.#readDetailOfSick, this.#readAgain]) request.cancel();
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
    const done = await attempt(action, (error) => {
      if (tell && this.run === null) this.error = error;
      else if (this.run !== null) freshness.fail(() => void this.load());
    });
    if (done) freshness.read();
  }
}
