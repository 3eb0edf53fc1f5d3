import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ConnectionState } from "./connection";
import { SharedLive, type Line, type ToTab } from "./shared-live";

const [A, B] = ["0190a6b0-0000-7000-8000-00000000000a", "0190a6b0-0000-7000-8000-00000000000b"];

/** A stream that the test opens, breaks and speaks through. */
interface FakeLine extends Line {
  url: string;
  closed: boolean;
  become(state: ConnectionState): void;
  say(event: string, id: number, body: unknown): void;
  refuse(): void;
}

function share() {
  const lines: FakeLine[] = [];
  const shared = new SharedLive((options) => {
    const line: FakeLine = {
      url: options.url(),
      askedAt: Date.now(),
      heardAt: Date.now(),
      closed: false,
      close: () => (line.closed = true),
      become: options.onState,
      say: (event, id, body) => options.onMessage({ event, id: String(id), data: JSON.stringify(body) }),
      refuse: options.onUnauthorized,
    };
    lines.push(line);
    return line;
  });
  const open = () => lines.filter((line) => !line.closed);
  return { shared, lines, open };
}

/** A tab: what it was told, shortened to what tests ask about. */
function tabOf(shared: SharedLive) {
  const told: string[] = [];
  let key = 0;
  const tell = (message: ToTab): void => {
    if (message.kind === "state") told.push(message.state);
    else if (message.kind === "heard") told.push(message.message.kind === "frames" ? `frames ${message.message.frames.step.join()}` : message.message.kind);
    else told.push(message.kind);
  };
  return {
    told,
    heard: () => told.splice(0),
    watch: (runs: string[], since = Date.now()) => shared.hear(tell, { kind: "watch", watch: { key: ++key, runs, others: runs.length === 0, since } }),
    say: (kind: "rest" | "leave" | "here") => shared.hear(tell, { kind }),
  };
}

const frames = (run: string, step: number) => ({ run_id: run, step: [step] });

describe("the stream that tabs share", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
  afterEach(() => void vi.useRealTimers());

  test("one stream serves two tabs, and each hears of its own runs", () => {
    const { shared, lines, open } = share();
    const [first, second] = [tabOf(shared), tabOf(shared)];
    first.watch([A]);
    lines[0]?.become("open");
    second.watch([B]);
    lines[1]?.become("open");
    expect(open().map((line) => line.url)).toEqual([`/api/v1/live?runs=${A},${B}&others=events&since=2.0`]);
    first.heard();
    second.heard();
    lines[1]?.say("frames", 1, frames(A, 7));
    lines[1]?.say("frames", 2, frames(B, 9));
    expect([first.heard(), second.heard()]).toEqual([["frames 7"], ["frames 9"]]);
  });

  test("the stream before goes on until the next one is open, and what both tell is told once", () => {
    const { shared, lines } = share();
    const [first, second] = [tabOf(shared), tabOf(shared)];
    first.watch([A]);
    lines[0]?.become("open");
    first.heard();
    second.watch([]);
    lines[0]?.say("frames", 1, frames(A, 1));
    expect(lines[0]?.closed).toBe(false);
    lines[1]?.become("open");
    expect(lines[0]?.closed).toBe(true);
    lines[1]?.say("frames", 1, frames(A, 1));
    lines[1]?.say("frames", 2, frames(A, 2));
    expect(first.heard().filter((word) => word.startsWith("frames"))).toEqual(["frames 1", "frames 2"]);
  });

  test("a tab hears what has happened since it began to read, and nothing before its stream is open", () => {
    const { shared, lines } = share();
    const [first, second] = [tabOf(shared), tabOf(shared)];
    first.watch([]);
    lines[0]?.become("open");
    second.watch([], Date.now() - 1_500);
    expect(lines[1]?.url).toContain("since=3.5");
    lines[0]?.say("event", 5, { run_id: A });
    lines[1]?.become("open");
    lines[1]?.say("event", 4, { run_id: A });
    lines[1]?.say("event", 5, { run_id: A });
    expect(second.heard()).toEqual(["open", "open", "event", "event"]);
    expect(first.heard().filter((word) => word === "event")).toEqual(["event"]);
  });

  test("a stream that took too long to open makes everybody read again", () => {
    const { shared, lines } = share();
    const tab = tabOf(shared);
    tab.watch([]);
    vi.advanceTimersByTime(2_500);
    lines[0]?.become("open");
    expect(tab.heard()).toEqual(["connecting", "open", "resync"]);
  });

  test("what a stream that was lost has missed is asked for from when it was heard last", () => {
    const { shared, lines } = share();
    const tab = tabOf(shared);
    tab.watch([A]);
    lines[0]?.become("open");
    vi.advanceTimersByTime(4_000);
    lines[0]?.become("lost");
    expect(tab.heard()).toEqual(["connecting", "open", "lost"]);
    tab.watch([A]);
    expect(lines[1]?.url).toContain("since=6.0");
  });

  test("a tab that is closed is asked for no more, a moment later", () => {
    const { shared, lines, open } = share();
    const [first, second] = [tabOf(shared), tabOf(shared)];
    first.watch([A]);
    second.watch([B]);
    lines[1]?.become("open");
    first.say("leave");
    expect(open().at(-1)?.url).toContain(A);
    vi.advanceTimersByTime(1_000);
    open().at(-1)?.become("open");
    expect(open().map((line) => line.url)).toEqual([expect.stringContaining(`runs=${B}&`)]);
    second.say("leave");
    vi.advanceTimersByTime(1_000);
    expect(open()).toEqual([]);
  });

  test("a view that follows another one in its tab keeps the stream", () => {
    const { shared, lines, open } = share();
    const tab = tabOf(shared);
    tab.watch([A]);
    lines[0]?.become("open");
    tab.say("leave");
    tab.watch([B]);
    lines[1]?.become("open");
    vi.advanceTimersByTime(5_000);
    expect(open()).toEqual([lines[1]]);
  });

  test("a tab that crashed is forgotten, one that slept only says again what it watches", () => {
    const { shared, open } = share();
    const [crashed, well] = [tabOf(shared), tabOf(shared)];
    crashed.watch([A]);
    well.watch([B]);
    for (let round = 0; round < 4; round++) {
      vi.advanceTimersByTime(20_000);
      shared.ping();
      well.say("here");
    }
    vi.advanceTimersByTime(1_000);
    expect(open().at(-1)?.url).toContain(`runs=${B}&`);
    crashed.heard();
    crashed.say("here");
    expect(crashed.heard()).toEqual(["who"]);
  });

  test("a tab that nobody sees hears of events only, and reads again when it is seen after long", () => {
    const { shared, lines } = share();
    const tab = tabOf(shared);
    tab.watch([A]);
    lines[0]?.become("open");
    tab.say("rest");
    vi.advanceTimersByTime(1_000);
    expect(lines[1]?.url).toContain("runs=&others=events");
    lines[1]?.become("open");
    tab.heard();
    lines[1]?.say("run", 1, { run_id: A });
    lines[1]?.say("event", 2, { run_id: B });
    expect(tab.heard()).toEqual(["event"]);
    tab.watch([A], Date.now() - 60_000);
    lines[2]?.become("open");
    expect(tab.heard()).toEqual(["open", "open", "resync"]);
  });

  test("an expired login reaches every tab, and the next view asks anew", () => {
    const { shared, lines, open } = share();
    const [first, second] = [tabOf(shared), tabOf(shared)];
    first.watch([A]);
    second.watch([B]);
    lines[1]?.refuse();
    expect([first.heard().at(-1), second.heard().at(-1)]).toEqual(["login", "login"]);
    expect(open()).toEqual([]);
    first.watch([A]);
    expect(open()).toHaveLength(1);
  });
});
