/** The page's one live connection: views say which runs they watch and hear what happens. */
import { Connection } from "./connection";
import type { EventForPeople, LiveFrames, LiveMessage, RunLive } from "./model";
import { router } from "./router.svelte";
import { isRunId } from "./routes";
import type { SseMessage } from "./sse";

type Listener = (message: LiveMessage) => void;

class Live {
  state = $state<"connecting" | "open" | "lost">("connecting");
  /** When the connection was lost, in this browser's clock; null while it is open. */
  lostSince = $state<number | null>(null);
  /** How many events were told so far: whoever counts them elsewhere reads again when it grows. */
  eventsTold = $state(0);
  #connection: Connection | null = null;
  #listener: Listener | null = null;
  #opened: () => void = () => undefined;

  /** Hear everything about all runs, and every frame of ``runs``. Returns what ends it. */
  watch(runs: readonly string[], listener: Listener): () => void {
    this.#connection?.close();
    this.#listener = listener;
    const known = runs.filter(isRunId);
    const query = known.length === 0 ? "" : `?runs=${known.join(",")}`;
    let opens = 0;
    const connection = new Connection({
      url: `/api/v1/live${query}`,
      fetch: (input, init) => fetch(input, init),
      onState: (state) => {
        if (this.#connection !== connection) return;
        if (state === "open") {
          this.#opened();
          if (opens++ > 0 || this.#late) listener({ kind: "resync" });
        }
        this.#become(state);
      },
      onMessage: (message) => {
        const heard = parse(message);
        if (heard?.kind === "event") this.eventsTold++;
        if (heard !== null && this.#listener === listener) listener(heard);
      },
      onUnauthorized: () => router.go("/login", "replace"),
    });
    this.#connection = connection;
    return () => {
      connection.close();
      if (this.#listener === listener) this.#listener = null;
    };
  }

  #late = false;

  /** Resolves once the stream is open, so that what is read afterwards misses nothing; waits at most a moment, and a
   * stream that opens later than that tells its listener to read again. */
  ready(milliseconds = 300): Promise<void> {
    this.#late = false;
    return new Promise((resolve) => {
      const timer = setTimeout(() => ((this.#late = true), resolve()), milliseconds);
      this.#opened = () => (clearTimeout(timer), resolve());
    });
  }

  #become(state: "connecting" | "open" | "lost" | "closed"): void {
    if (state === "closed") return;
    if (state !== "lost") this.lostSince = null;
    else if (this.lostSince === null) this.lostSince = Date.now();
    this.state = state;
  }
}

function parse(message: SseMessage): LiveMessage | null {
  if (message.event === "resync") return { kind: "resync" };
  try {
    const body: unknown = JSON.parse(message.data);
    if (message.event === "run") return { kind: "run", run: body as RunLive };
    if (message.event === "event") return { kind: "event", event: body as EventForPeople };
    if (message.event === "frames") return { kind: "frames", frames: body as LiveFrames };
  } catch {
    // half a message, cut off by a proxy: what it said comes again with the next resync
  }
  return null;
}

export const live = new Live();
