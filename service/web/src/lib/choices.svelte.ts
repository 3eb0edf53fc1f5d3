/** What the overview can be filtered by and grouped into: read after the rows, which do not wait for it. */
import { ApiError, isAbort, type Api } from "./api";
import type { Choice } from "./choice";
import type { Facets, Grouping, Group } from "./model";
import { throttle } from "./throttle";

const GROUPS_EVERY = 5_000;
const CHOICES_EVERY = 15_000;

export class Choices {
  facets = $state.raw<Facets | null>(null);
  readonly #api: Api;
  #reading = new AbortController();
  #choice: Choice | null = null;
  /** Somebody reaches for the filters: only then it matters who has come meanwhile, and counting takes the service long. */
  readonly refresh = throttle(() => this.#choice !== null && void this.load(this.#choice), CHOICES_EVERY);

  constructor(api: Api) {
    this.#api = api;
  }

  async load(choice: Choice): Promise<void> {
    this.#choice = choice;
    this.#reading.abort();
    this.#reading = new AbortController();
    this.facets = await quietly(this.facets, () => this.#api.facets(choice, this.#reading.signal));
  }

  close(): void {
    this.#reading.abort();
    this.refresh.cancel();
  }
}

export class Groups {
  groups = $state.raw<Group[] | null>(null);
  leftOut = $state(0);
  readonly #api: Api;
  #reading = new AbortController();
  #asked: { choice: Choice; by: Grouping } | null = null;
  /** Ask again before long: something has changed. */
  readonly soon = throttle(() => void this.#read(), GROUPS_EVERY);

  constructor(api: Api) {
    this.#api = api;
  }

  load(choice: Choice, by: Grouping): Promise<void> {
    if (this.#asked?.by !== by) this.groups = null;
    this.#asked = { choice, by };
    return this.#read();
  }

  async #read(): Promise<void> {
    const asked = this.#asked;
    if (asked === null) return;
    this.#reading.abort();
    this.#reading = new AbortController();
    const answer = await quietly(null, () => this.#api.groups(asked.choice, asked.by, this.#reading.signal));
    if (answer === null) return;
    this.groups = answer.groups;
    this.leftOut = answer.left_out;
  }

  close(): void {
    this.#reading.abort();
    this.soon.cancel();
  }
}

/** What failed is tried again with the next change; the list itself says that the service does not answer. */
async function quietly<Answer>(before: Answer, read: () => Promise<Answer>): Promise<Answer> {
  try {
    return await read();
  } catch (error) {
    if (isAbort(error) || error instanceof ApiError) return before;
    throw error;
  }
}
