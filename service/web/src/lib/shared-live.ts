/** One live stream for all tabs of a browser: it asks for what any of them wants, and tells each what it asked for,
 * everything once and in order.
 *
 * It knows no network: how a stream is opened is its maker's business. In a shared worker it serves every tab; where a
 * browser has none, each tab keeps one for itself. When the tabs want something else, the next stream is opened before
 * the last one is closed and begins a little earlier, so that nothing falls between the two; what both tell is told once.
 */
import type { ConnectionOptions, ConnectionState } from "./connection";
import { parseLive } from "./live-message";
import type { LiveMessage } from "./model";
import type { SseMessage } from "./sse";

/** What one tab wants to hear. */
export interface Watch {
  /** Changes with each view, so that a tab can tell what was meant for the view before. */
  key: number;
  /** Runs to hear everything of. */
  runs: readonly string[];
  /** Whether figures and events of all other runs are wanted, too. */
  others: boolean;
  /** When the view began to read, in this browser's clock: it is told what has happened since. */
  since: number;
}

/** "rest": nobody sees the tab, so events are enough. "here" answers a "ping". */
export type FromTab = { kind: "watch"; watch: Watch } | { kind: "rest" } | { kind: "leave" } | { kind: "here" };

/** "login": the service does not know this browser any more. "who": say again what you watch. */
export type ToTab =
  | { kind: "state"; state: LiveState; lostSince: number | null }
  | { kind: "heard"; key: number; message: LiveMessage }
  | { kind: "login" }
  | { kind: "ping" }
  | { kind: "who" };

export type LiveState = "connecting" | "open" | "lost";
export type Tell = (message: ToTab) => void;

/** A stream, as far as this module needs it. */
export interface Line {
  readonly heardAt: number | null;
  readonly askedAt: number;
  close(): void;
}
export type OpenLine = (options: Pick<ConnectionOptions, "url" | "onState" | "onMessage" | "onUnauthorized">) => Line;

interface Tab {
  watch: Watch;
  resting: boolean;
  /** Whether a stream has been open since it said what it watches; before, it is told nothing. */
  served: boolean;
  /** The last message that it was told. */
  number: number;
  answeredAt: number;
}

/** By how much streams overlap; a stream that takes longer to open may have missed something. */
const OVERLAP = 2_000;
/** The service remembers 10 s; who began earlier reads again. */
const REACH = 8_000;
const FORGOTTEN_AFTER = 60_000;
/** A view that goes is followed by the next one: what is wanted less is not asked for at once. */
const PATIENCE = 1_000;
const MOST_RUNS = 100;

export class SharedLive {
  readonly #open: OpenLine;
  readonly #tabs = new Map<Tell, Tab>();
  #line: Line | null = null;
  #next: Line | null = null;
  #question = "";
  #state: LiveState = "connecting";
  #lostSince: number | null = null;
  #later: ReturnType<typeof setTimeout> | undefined;

  constructor(open: OpenLine) {
    this.#open = open;
  }

  /** What a tab says; ``tell`` is how it is answered, and stands for it. */
  hear(tell: Tell, said: FromTab): void {
    const tab = this.#tabs.get(tell);
    if (tab !== undefined) tab.answeredAt = Date.now();
    if (said.kind === "watch") {
      this.#tabs.set(tell, { watch: said.watch, resting: false, served: false, number: 0, answeredAt: Date.now() });
      tell({ kind: "state", state: this.#state, lostSince: this.#lostSince });
      this.#tune();
    } else if (tab === undefined) {
      if (said.kind === "here") tell({ kind: "who" });
    } else if (said.kind === "rest") {
      tab.resting = true;
      this.#tuneLater();
    } else if (said.kind === "leave") {
      this.#tabs.delete(tell);
      this.#tuneLater();
    }
  }

  /** Ask every tab whether it is still there, and forget those that have not answered for long: a crash says no goodbye. */
  ping(now = Date.now()): void {
    for (const [tell, tab] of this.#tabs) {
      if (now - tab.answeredAt > FORGOTTEN_AFTER) this.#tabs.delete(tell);
      else tell({ kind: "ping" });
    }
    this.#tuneLater();
  }

  #tuneLater(): void {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => {
      if (this.#tabs.size === 0) this.#hangUp();
      else if (this.#question !== this.#ask()) this.#tune();
    }, PATIENCE);
  }

  /** Open the stream that everybody needs now; the one that is open goes on until then. */
  #tune(): void {
    clearTimeout(this.#later);
    this.#next?.close();
    const question = (this.#question = this.#ask());
    const line = this.#open({
      url: () => `/api/v1/live?${question}&since=${this.#since()}`,
      onState: (state) => this.#changed(line, state),
      onMessage: (message) => line === this.#line && this.#pass(message),
      onUnauthorized: () => this.#refused(),
    });
    if (this.#line === null) this.#line = line;
    else this.#next = line;
  }

  /** What all tabs together want; the runs of those that came last where it would be too many. */
  #ask(): string {
    const awake = [...this.#tabs.values()].filter((tab) => !tab.resting);
    const runs = [...new Set(awake.reverse().flatMap((tab) => tab.watch.runs))].slice(0, MOST_RUNS).sort();
    const others = awake.some((tab) => tab.watch.others) ? "figures" : "events";
    return `runs=${runs.join(",")}&others=${others}`;
  }

  /** How many seconds ago the stream must begin. */
  #since(): string {
    const now = Date.now();
    const reading = [...this.#tabs.values()].filter((tab) => !tab.served && now - tab.watch.since < REACH);
    const heardAt = this.#line?.heardAt ?? now;
    const began = Math.min(this.#state === "lost" ? heardAt : now, ...reading.map((tab) => tab.watch.since));
    return (Math.min(3_600_000, now - began + OVERLAP) / 1000).toFixed(1);
  }

  #changed(line: Line, state: ConnectionState): void {
    if (line === this.#next && state === "open") {
      this.#line?.close();
      [this.#line, this.#next] = [this.#next, null];
    }
    if (line !== this.#line || state === "closed") return;
    if (state === "lost" && this.#state !== "lost") this.#lostSince = line.heardAt ?? Date.now();
    if (state === "open") this.#lostSince = null;
    this.#state = state;
    this.#tellState();
    if (state === "open") this.#serve(Date.now() - line.askedAt > OVERLAP);
  }

  /** From here on every tab hears what it asked for; those for whom the stream begins too late read again. */
  #serve(late: boolean): void {
    for (const [tell, tab] of this.#tabs) {
      const missed = !tab.served && Date.now() - tab.watch.since >= REACH;
      tab.served = true;
      if (late || missed) tell({ kind: "heard", key: tab.watch.key, message: { kind: "resync" } });
    }
  }

  #pass(told: SseMessage): void {
    const message = parseLive(told);
    if (message === null) return;
    const number = Number(told.id);
    for (const [tell, tab] of this.#tabs) {
      if (!tab.served || !wants(tab, message)) continue;
      if (message.kind !== "resync") {
        if (number <= tab.number) continue;
        tab.number = number;
      }
      tell({ kind: "heard", key: tab.watch.key, message });
    }
  }

  #refused(): void {
    this.#hangUp();
    for (const tell of this.#tabs.keys()) tell({ kind: "login" });
  }

  #hangUp(): void {
    this.#next?.close();
    this.#line?.close();
    this.#line = this.#next = null;
    this.#state = "connecting";
    this.#lostSince = null;
  }

  #tellState(): void {
    for (const tell of this.#tabs.keys()) tell({ kind: "state", state: this.#state, lostSince: this.#lostSince });
  }
}

function wants(tab: Tab, message: LiveMessage): boolean {
  if (message.kind === "resync") return !tab.resting; // who rests reads again when it is seen
  if (message.kind === "event") return true; // every view counts those that need somebody
  if (tab.resting) return false;
  const run = message.kind === "frames" ? message.frames.run_id : message.run.run_id;
  return tab.watch.runs.includes(run) || (tab.watch.others && message.kind !== "frames");
}
