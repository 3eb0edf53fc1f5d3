import { describe, expect, test, vi } from "vitest";
import { Connection, type ConnectionState } from "./connection";
import type { SseMessage } from "./sse";

/** A stream that the test writes to and ends; an aborted request breaks it, as fetch does. */
function line() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (made) => void (controller = made) });
  const answer = async (signal: AbortSignal): Promise<Response> => {
    signal.addEventListener("abort", () => controller.error(new DOMException("gone", "AbortError")));
    return new Response(body);
  };
  return { answer, write: (text: string) => controller.enqueue(new TextEncoder().encode(text)), end: () => controller.close() };
}

function connect(answers: ((signal: AbortSignal) => Promise<Response>)[], options: { silenceMilliseconds?: number } = {}) {
  const states: ConnectionState[] = [];
  const messages: SseMessage[] = [];
  let unauthorized = 0;
  let calls = 0;
  const connection = new Connection({
    url: () => "/live",
    fetch: (_input, init) => {
      const answer = answers[calls++] ?? (() => new Promise<Response>(() => undefined));
      return answer(init?.signal ?? new AbortController().signal);
    },
    onState: (state) => states.push(state),
    onMessage: (message) => messages.push(message),
    onUnauthorized: () => unauthorized++,
    backoffMilliseconds: [1],
    ...options,
  });
  return { connection, states, messages, calls: () => calls, unauthorized: () => unauthorized };
}

describe("the live connection", () => {
  test("hands on what it hears", async () => {
    const first = line();
    const { connection, states, messages } = connect([first.answer]);
    first.write("event: run\ndata: 1\n\n");
    await vi.waitFor(() => expect(messages).toEqual([{ event: "run", data: "1", id: "" }]));
    expect(states).toEqual(["open"]);
    connection.close();
    expect(states).toEqual(["open", "closed"]);
  });

  test("says that it is lost when the stream ends, and comes back", async () => {
    const [first, second] = [line(), line()];
    const { connection, states } = connect([first.answer, second.answer]);
    await vi.waitFor(() => expect(states).toEqual(["open"]));
    first.end();
    await vi.waitFor(() => expect(states).toEqual(["open", "lost", "open"]));
    connection.close();
  });

  test("keeps trying while the service is down", async () => {
    const last = line();
    const down = () => Promise.reject(new TypeError("refused"));
    const { connection, states } = connect([down, async () => new Response("", { status: 503 }), last.answer]);
    await vi.waitFor(() => expect(states).toEqual(["lost", "lost", "open"]));
    connection.close();
  });

  test("takes long silence for a dead line", async () => {
    const [first, second] = [line(), line()];
    const { connection, states } = connect([first.answer, second.answer], { silenceMilliseconds: 30 });
    await vi.waitFor(() => expect(states.slice(0, 3)).toEqual(["open", "lost", "open"]));
    connection.close();
  });

  test("stops at 401 and asks for a login once", async () => {
    const { states, calls, unauthorized } = connect([async () => new Response("", { status: 401 })]);
    await vi.waitFor(() => expect(unauthorized()).toBe(1));
    expect([calls(), states]).toEqual([1, []]);
  });
});
