/** The page's live connection: a view says which runs it watches and hears what happens. */
import { askedAt } from "./early";
import { reachAlone, reachShared, type Say } from "./live-line";
import type { LiveMessage } from "./model";
import { router } from "./router.svelte";
import { isRunId } from "./routes";
import type { LiveState, ToTab, Watch } from "./shared-live";

type Listener = (message: LiveMessage) => void;

/** A glance at another tab costs nothing; after that, nobody needs the frames of this one. */
const REST_AFTER = 5_000;

class Live {
  state = $state<LiveState>("connecting");
  /** When something was heard last, in this browser's clock, since the connection was lost; null while it is open. */
  lostSince = $state<number | null>(null);
  /** How many events were told so far: whoever counts them elsewhere reads again when it grows. */
  eventsTold = $state(0);
  #say: Say | null = null;
  #watch: Watch | null = null;
  #listener: Listener | null = null;
  #restedAt: number | null = null;
  #resting: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#restLater() : this.#wake()));
    addEventListener("pagehide", () => this.#say?.({ kind: "leave" }));
    addEventListener("pageshow", (event) => event.persisted && this.#again(0));
  }

  /** Hear everything of ``runs``, or, where none is named, figures and events of all. Whatever happens after this call is
   * told, so a view reads at once. Returns what ends it. */
  watch(runs: readonly string[], listener: Listener): () => void {
    const key = (this.#watch?.key ?? 0) + 1;
    this.#listener = listener;
    this.#watch = { key, runs: runs.filter(isRunId), others: runs.length === 0, since: askedAt() };
    this.#send();
    return () => {
      if (this.#listener !== listener) return;
      this.#listener = null;
      this.#say?.({ kind: "leave" });
    };
  }

  #send(): void {
    if (this.#watch === null) return;
    this.#say ??= reachShared(
      (message) => this.#hear(message),
      () => {
        this.#say = reachAlone((message) => this.#hear(message));
        this.#again(this.#watch?.since ?? 0);
      },
    );
    this.#say({ kind: "watch", watch: this.#watch });
    this.#restedAt = null;
    if (document.hidden) this.#restLater();
  }

  /** Say once more what is watched, and be told what has happened since then. */
  #again(since: number): void {
    if (this.#watch === null || this.#listener === null) return;
    this.#watch = { ...this.#watch, since };
    this.#send();
  }

  #hear(message: ToTab): void {
    if (message.kind === "ping") this.#say?.({ kind: "here" });
    else if (message.kind === "who") this.#again(0);
    else if (message.kind === "login") router.go("/login", "replace");
    else if (message.kind === "heard") {
      if (message.message.kind === "event") this.eventsTold++;
      if (message.key === this.#watch?.key) this.#listener?.(message.message);
    } else {
      this.state = message.state;
      this.lostSince = message.lostSince;
    }
  }

  #restLater(): void {
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => {
      this.#restedAt = Date.now();
      this.#say?.({ kind: "rest" });
    }, REST_AFTER);
  }

  #wake(): void {
    clearTimeout(this.#resting);
    if (this.#restedAt !== null) this.#again(this.#restedAt);
  }
}

export const live = new Live();
