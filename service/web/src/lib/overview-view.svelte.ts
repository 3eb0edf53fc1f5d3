/** The overview's runs and events: read from the service, then kept up by live messages. */
import { ApiError, isAbort, type Api } from "./api";
import { clock } from "./clock.svelte";
import { freshness } from "./freshness.svelte";
import { Meanwhile } from "./meanwhile";
import type { Event, Health, LiveMessage, RunSummary } from "./model";
import { applyEvent, applyRun, arrange, isNews } from "./overview";
import { router } from "./router.svelte";
import { throttle } from "./throttle";

/** Live messages keep rows and totals; what they cannot tell (the exact sparkline, runs beyond the page) may wait. */
const REFRESH_EVERY = 60_000;

export class OverviewView {
  runs = $state.raw<RunSummary[]>([]);
  events = $state.raw<Event[]>([]);
  totals = $state.raw<Record<Health, number>>({ healthy: 0, warning: 0, critical: 0, not_measurable: 0, unknown: 0 });
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  nextCursor = $state<string | null>(null);
  readonly #api: Api;
  #query: { q: string; health: Health | null } = { q: "", health: null };
  #reading = new AbortController();
  #readAt = "";
  readonly #meanwhile = new Meanwhile((message) => this.#apply(message));
  readonly #soon = throttle(() => void this.load(), 1_000);
  readonly #sometimes = throttle(() => this.loaded && void this.load(), REFRESH_EVERY);

  constructor(api: Api) {
    this.#api = api;
  }

  /** Read the list from the start; with another filter the old rows go, else they keep their places. */
  async load(query = this.#query): Promise<void> {
    const same = query.q === this.#query.q && query.health === this.#query.health;
    this.#query = query;
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    await this.#read(async () => {
      const answer = await this.#api.dashboard(query, signal);
      clock.correct(answer.now);
      this.#readAt = answer.now;
      this.runs = same && this.loaded ? arrange(answer.runs, this.runs) : answer.runs;
      this.events = answer.events;
      this.totals = answer.totals;
      this.nextCursor = answer.next_cursor;
      this.loaded = true;
      this.#sometimes.done();
      this.error = null;
    });
  }

  async loadMore(): Promise<void> {
    await this.#try(async () => {
      const answer = await this.#api.dashboard({ ...this.#query, cursor: this.nextCursor }, this.#reading.signal);
      const known = new Set(this.runs.map((run) => run.run_id));
      this.runs = [...this.runs, ...answer.runs.filter((run) => !known.has(run.run_id))];
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
      this.events = applyEvent(this.events, message.event);
      return this.#soon();
    }
    if (message.kind !== "run") return;
    const healthBefore = this.runs.find((run) => run.run_id === message.run.run_id)?.health;
    const runs = applyRun(this.runs, message.run);
    if (runs !== null) this.runs = runs;
    // a run that is new, or one that changed its condition: the totals and the order are the service's to say
    const isNew = runs === null && message.run.created_at > this.#readAt;
    if (isNew || (runs !== null && healthBefore !== message.run.health)) this.#soon();
    else this.#sometimes();
  }

  close(): void {
    this.#reading.abort();
    this.#soon.cancel();
    this.#sometimes.cancel();
  }

  #read(action: () => Promise<void>): Promise<void> {
    return this.#try(() => this.#meanwhile.during(action));
  }

  async #try(action: () => Promise<void>): Promise<void> {
    try {
      await action();
      freshness.read();
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "unauthorized") router.go("/login", "replace");
      else if (!this.loaded) this.error = error;
      else freshness.fail(() => void this.load());
    }
  }
}
