/** The live connection: one stream of server-sent events that says when it is lost and comes back by itself.
 *
 * Read with fetch and not with EventSource, which hides the keep-alive comments (a silent network would look
 * alive for ever) and the status code (an expired session would look like an outage).
 */
import { SseParser, type SseMessage } from "./sse";

export type ConnectionState = "connecting" | "open" | "lost" | "closed";

export interface ConnectionOptions {
  /** Asked for at each attempt: what must be told depends on when that is. */
  url: () => string;
  fetch: typeof fetch;
  /** Called on every change; "open" means that whatever happened before may have been missed. */
  onState: (state: ConnectionState) => void;
  onMessage: (message: SseMessage) => void;
  /** The service no longer knows this browser: no further attempt is made. */
  onUnauthorized: () => void;
  /** The service writes a comment every 15 s, so this much silence is a dead line. */
  silenceMilliseconds?: number;
  backoffMilliseconds?: readonly number[];
}

const BACKOFF = [500, 1_000, 2_000, 4_000, 8_000];

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #closing = new AbortController();
  #heardAt: number | null = null;
  #askedAt = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    void this.#run();
  }

  /** When anything at all was heard last, a comment too; null before it was ever open. */
  get heardAt(): number | null {
    return this.#heardAt;
  }

  /** When the service was asked last. */
  get askedAt(): number {
    return this.#askedAt;
  }

  close(): void {
    this.#closing.abort();
    this.#options.onState("closed");
  }

  async #run(): Promise<void> {
    const delays = this.#options.backoffMilliseconds ?? BACKOFF;
    let failures = 0;
    while (!this.#closing.signal.aborted) {
      const outcome = await this.#connectOnce();
      if (this.#closing.signal.aborted) return;
      if (outcome === "unauthorized") return this.#options.onUnauthorized();
      failures = outcome === "ended" ? 0 : failures + 1;
      this.#options.onState("lost");
      await this.#pause(delays[Math.min(failures, delays.length - 1)] ?? 0);
    }
  }

  /** One attempt: "ended" if the stream was open for a while, "failed" if it never was. */
  async #connectOnce(): Promise<"ended" | "failed" | "unauthorized"> {
    const line = new AbortController();
    const watchdog = new Watchdog(this.#options.silenceMilliseconds ?? 40_000, () => line.abort());
    let opened = false;
    try {
      const url = this.#options.url();
      this.#askedAt = Date.now();
      const response = await this.#options.fetch(url, {
        headers: { Accept: "text/event-stream" },
        signal: AbortSignal.any([line.signal, this.#closing.signal]),
      });
      if (response.status === 401) return "unauthorized";
      if (!response.ok || response.body === null) return "failed";
      opened = true;
      this.#heardAt = Date.now();
      this.#options.onState("open");
      const parser = new SseParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        watchdog.heard();
        this.#heardAt = Date.now();
        for (const message of parser.push(part.value)) this.#hand(message);
      }
      return "ended";
    } catch {
      return opened ? "ended" : "failed"; // a refused or broken connection; the caller tries again
    } finally {
      watchdog.stop();
    }
  }

  /** A listener's mistake is the page's, not the line's: it is reported, and the stream goes on. */
  #hand(message: SseMessage): void {
    try {
      this.#options.onMessage(message);
    } catch (mistake) {
      queueMicrotask(() => {
        throw mistake;
      });
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds * (0.75 + Math.random() / 2));
      this.#closing.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}

/** Calls ``bark`` once nothing was heard for ``milliseconds``. */
class Watchdog {
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly milliseconds: number,
    private readonly bark: () => void,
  ) {
    this.heard();
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.bark, this.milliseconds);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
