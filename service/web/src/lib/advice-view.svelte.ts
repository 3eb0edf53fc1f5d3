/** The advice on a run's clip threshold: read when it is looked at, and again now and then while the run goes on. */
import type { Api, ApiError } from "./api";
import { attempt } from "./attempt";
import type { AdviceAnswer } from "./model";
import { throttle } from "./throttle";

const READ_EVERY = 60_000; // it is counted from every frame of the run, so that it changes ever more slowly

export class AdviceView {
  advice = $state.raw<AdviceAnswer | null>(null);
  error = $state.raw<ApiError | null>(null);
  readonly #closing = new AbortController();
  readonly #api: Api;
  readonly #id: string;
  readonly #monitor: string | null;

  /** Read it, at most so often; failures show only where there is nothing older to show. */
  readonly read = throttle(() => void this.retry(), READ_EVERY);

  constructor(api: Api, id: string, monitor: string | null) {
    this.#api = api;
    this.#id = id;
    this.#monitor = monitor;
  }

  async retry(): Promise<void> {
    const read = async (): Promise<void> => {
      this.advice = await this.#api.advice(this.#id, this.#monitor, this.#closing.signal);
      this.error = null;
    };
    await attempt(read, (error) => {
      if (this.advice === null) this.error = error;
    });
  }

  close(): void {
    this.read.cancel();
    this.#closing.abort();
  }
}
