/** The overview's runs and events: read from the service, then kept up by live messages. */
import type { Api, ApiError } from "./api";
import { attempt } from "./attempt";
import { EVERYTHING, sameFilter, type Choice } from "./choice";
import { clock } from "./clock.svelte";
import { freshness } from "./freshness.svelte";
import { Meanwhile } from "./meanwhile";
import type { Health, LiveMessage, NamedEvent, RunSummary } from "./model";
import { applyEvent, applyRun, inPlace, isNews, refresh, RUNS_A_PAGE } from "./overview";
import { throttle } from "./throttle";

/** Live messages keep rows and totals; what they cannot tell (the exact sparkline, runs beyond the page) may wait. */
const REFRESH_EVERY = 60_000;
/** As many as the service gives. */
const EVENTS = 20;
/** Rows keep their places for so long after somebody pointed at them. */
const STILL_MILLISECONDS = 3_000;

export class OverviewView {
  runs = $state.raw<RunSummary[]>([]);
  events = $state.raw<NamedEvent[]>([]);
  totals = $state.raw<Record<Health, number>>({ healthy: 0, warning: 0, critical: 0, not_measurable: 0, unknown: 0 });
  viewer = $state<string | null>(null);
  loaded = $state(false);
  /** Whether rows of another filter are shown until those of this one are here. */
  changing = $state(false);
  error = $state.raw<ApiError | null>(null);
  nextCursor = $state<string | null>(null);
  readonly #api: Api;
  readonly #limit: number;
  #choice: Choice = EVERYTHING;
  #reading = new AbortController();
  #paging = new AbortController();
  #readAt = "";
  #more: Promise<boolean> | null = null;
  #arranged: RunSummary[] = [];
  #stillUntil = 0;
  #settling: ReturnType<typeof setTimeout> | undefined;
  readonly #meanwhile = new Meanwhile((message) => this.#apply(message));
  readonly #soon = throttle(() => void this.load(), 1_000);
  readonly #sometimes = throttle(() => this.loaded && void this.load(), REFRESH_EVERY);

  constructor(api: Api, limit = RUNS_A_PAGE) {
    this.#api = api;
    this.#limit = limit;
  }

  /** Read the list from the start; with another filter the old rows go, else they keep their places. True where it came. */
  async load(choice = this.#choice): Promise<boolean> {
    const same = this.loaded && !this.changing && sameFilter(choice, this.#choice);
    this.#choice = choice;
    this.changing = this.loaded && !same;
    if (!same) {
      this.#paging.abort(); // a list that is only read again leaves the next page its turn
      this.#paging = new AbortController();
    }
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    return this.#read(async () => {
      const answer = await this.#api.dashboard(choice, { limit: this.#limit }, signal);
      clock.correct(answer.now);
      this.#readAt = answer.now;
      const hadMore = same && this.#arranged.length > this.#limit;
      this.#show(same ? refresh(answer.runs, this.#arranged, answer.next_cursor !== null) : answer.runs, !same);
      if (!hadMore || answer.next_cursor === null) this.nextCursor = answer.next_cursor;
      this.events = answer.events;
      this.totals = answer.totals;
      this.viewer = answer.viewer;
      this.loaded = true;
      this.changing = false;
      this.#sometimes.done();
      this.error = null;
    });
  }

  /** The next page, and whether it came; asked for again while it is read, there is one reading. */
  loadMore(): Promise<boolean> {
    this.#more ??= this.#readMore().finally(() => (this.#more = null));
    return this.#more;
  }

  async #readMore(): Promise<boolean> {
    const choice = this.#choice;
    return this.#try(async () => {
      const answer = await this.#api.dashboard(choice, { limit: this.#limit, cursor: this.nextCursor }, this.#paging.signal);
      const known = new Set(this.#arranged.map((run) => run.run_id));
      const found = answer.runs.filter((run) => !known.has(run.run_id));
      this.#arranged = [...this.#arranged, ...found];
      this.runs = [...this.runs, ...found];
      this.nextCursor = answer.next_cursor;
    });
  }

  hear(message: LiveMessage): void {
    this.#meanwhile.note(message);
    if (this.loaded) this.#apply(message);
  }

  #apply(message: LiveMessage): void {
    if (message.kind === "resync") return this.#soon();
    if (message.kind === "event") {
      if (!isNews(this.events, message.event)) return;
      this.events = applyEvent(this.events, message.event, EVENTS);
      return this.#soon();
    }
    if (message.kind !== "run") return;
    const before = this.#arranged.find((run) => run.run_id === message.run.run_id);
    const runs = applyRun(this.#arranged, message.run);
    if (runs !== null) this.#show(runs);
    // a run that is new, or one that changed its condition: the totals and the order are the service's to say
    const isNew = runs === null && message.run.created_at > this.#readAt;
    const isOther = before !== undefined && (before.health !== message.run.health || before.state !== message.run.state);
    if (isNew || isOther) this.#soon();
    else this.#sometimes();
  }

  /** Somebody points at the rows, or moves among them by keyboard: they stay where they are for a moment. */
  holdStill(): void {
    this.#stillUntil = Date.now() + STILL_MILLISECONDS;
  }

  close(): void {
    this.#reading.abort();
    this.#paging.abort();
    this.#soon.cancel();
    this.#sometimes.cancel();
    clearTimeout(this.#settling);
  }

  /** Put the rows on the screen: in their order, or, for as long as they are held still, each where it is. */
  #show(runs: RunSummary[], anew = false): void {
    this.#arranged = runs;
    const wait = this.#stillUntil - Date.now();
    if (anew || wait <= 0) {
      this.runs = runs;
      return;
    }
    this.runs = inPlace(runs, this.runs);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#show(this.#arranged), wait + 1);
  }

  #read(action: () => Promise<void>): Promise<boolean> {
    return this.#try(() => this.#meanwhile.during(action));
  }

  async #try(action: () => Promise<void>): Promise<boolean> {
    const done = await attempt(action, (error) => {
      if (!this.loaded || this.changing) this.error = error;
      else freshness.fail(() => void this.load());
    });
    if (done) freshness.read();
    return done;
  }
}
