/** The inbox's events: read page by page, kept up by live messages, and answered by the person who reads them. */
import type { Api, ApiError } from "./api";
import { attempt } from "./attempt";
import { clock } from "./clock.svelte";
import { freshness } from "./freshness.svelte";
import { EVERYTHING, insert, unknownOf, update, type InboxFilter } from "./inbox";
import { Meanwhile } from "./meanwhile";
import type { EventForPeople, InboxAnswer, InboxEvent, LiveMessage } from "./model";
import { throttle } from "./throttle";

const REFRESH_EVERY = 300;

export class InboxView {
  events = $state.raw<InboxEvent[]>([]);
  /** What happened while somebody had the list under the mouse or the keyboard: shown when they ask. */
  arrived = $state.raw<InboxEvent[]>([]);
  totals = $state.raw<InboxAnswer["totals"] | null>(null);
  loaded = $state(false);
  loadingMore = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** Why what a person said could not be kept. */
  problem = $state<string | null>(null);
  nextCursor = $state<string | null>(null);
  readonly #api: Api;
  readonly #isInUse: () => boolean;
  #filter = EVERYTHING;
  #reading = new AbortController();
  /** More has happened than fits into a page, so that the list would have a hole. */
  #behind = false;
  readonly #meanwhile = new Meanwhile((message) => this.#apply(message));
  readonly #soon = throttle(() => void this.#refresh(), REFRESH_EVERY);

  constructor(api: Api, isInUse: () => boolean) {
    this.#api = api;
    this.#isInUse = isInUse;
  }

  /** Read from the start. */
  async load(filter: InboxFilter = this.#filter): Promise<void> {
    this.#filter = filter;
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const read = async (): Promise<void> => {
      const answer = await this.#api.inbox(filter, {}, signal);
      this.#count(answer);
      this.events = answer.events;
      this.arrived = [];
      this.#behind = false;
      this.nextCursor = answer.next_cursor;
      this.loaded = true;
      this.error = null;
    };
    await this.#try(() => this.#meanwhile.during(read));
  }

  async loadMore(): Promise<void> {
    if (this.loadingMore || this.nextCursor === null) return;
    this.loadingMore = true;
    await this.#try(async () => {
      const answer = await this.#api.inbox(this.#filter, { cursor: this.nextCursor }, this.#reading.signal);
      this.events = [...this.events, ...unknownOf(this.events, answer.events)];
      this.nextCursor = answer.next_cursor;
    });
    this.loadingMore = false;
  }

  hear(message: LiveMessage): void {
    this.#meanwhile.note(message);
    if (this.loaded) this.#apply(message);
  }

  #apply(message: LiveMessage): void {
    if (message.kind === "event") this.events = update(this.events, [message.event]);
    if (message.kind === "event" || message.kind === "resync") this.#soon();
  }

  showArrived(): void {
    if (this.#behind) return void this.load();
    this.events = insert(this.events, this.arrived);
    this.arrived = [];
  }

  async acknowledge(events: readonly EventForPeople[], note: string): Promise<void> {
    await this.#say(events.map((event) => () => this.#api.acknowledge(event, note)));
  }

  async takeBack(event: EventForPeople): Promise<void> {
    await this.#say([() => this.#api.takeBack(event)]);
  }

  close(): void {
    this.#reading.abort();
    this.#soon.cancel();
  }

  /** One after the other, so that a service under load is not made to wait for a hundred at once. */
  async #say(words: readonly (() => Promise<EventForPeople>)[]): Promise<void> {
    this.problem = null;
    const keep = async (): Promise<void> => {
      for (const word of words) this.events = update(this.events, [await word()]);
    };
    await attempt(keep, (error) => (this.problem = error.message));
    this.#soon();
  }

  /** Read the first page again: what is known stays in its place, what is new is inserted or waits. */
  async #refresh(): Promise<void> {
    if (!this.loaded) return;
    await this.#try(async () => {
      const answer = await this.#api.inbox(this.#filter, {}, this.#reading.signal);
      this.#count(answer);
      this.events = update(this.events, answer.events);
      this.arrived = unknownOf(this.events, answer.events);
      this.#behind = answer.next_cursor !== null && this.arrived.length === answer.events.length;
      if (!this.#isInUse()) this.showArrived();
    });
  }

  #count(answer: InboxAnswer): void {
    clock.correct(answer.now);
    this.totals = answer.totals;
  }

  async #try(action: () => Promise<void>): Promise<void> {
    const done = await attempt(action, (error) => {
      if (!this.loaded) this.error = error;
      else freshness.fail(() => void this.load());
    });
    if (done) freshness.read();
  }
}
