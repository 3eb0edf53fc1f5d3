/** The evidence of one event: read once it is opened, and again while frames after the alarm are still to come. */
import type { Api } from "./api";
import { attempt } from "./attempt";
import type { Event, Evidence } from "./model";

const AGAIN_AFTER = 10_000;

export class EvidenceView {
  evidence = $state.raw<Evidence | null>(null);
  /** Nothing was kept, which is no failure: the event is of another kind, or older than evidence is. */
  none = $state(false);
  error = $state<string | null>(null);
  readonly #api: Api;
  readonly #event: Pick<Event, "run_id" | "event_id">;
  readonly #closing = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api, event: Pick<Event, "run_id" | "event_id">) {
    this.#api = api;
    this.#event = event;
  }

  async load(): Promise<void> {
    this.error = null;
    const read = async (): Promise<void> => {
      this.evidence = await this.#api.evidence(this.#event, this.#closing.signal);
      if (!this.evidence.complete) this.#timer = setTimeout(() => void this.load(), AGAIN_AFTER);
    };
    await attempt(read, (error) => {
      if (error.kind === "not_found") this.none = true;
      else if (this.evidence === null) this.error = error.message;
    });
  }

  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }
}
