import { describe, expect, test } from "vitest";
import { SseParser } from "./sse";

const TEXT = ': hello\n\nevent: run\nid: 7\ndata: {"a":1}\n\ndata: one\r\ndata: two\r\n\r\nevent: cut\ndata: off';

describe("server-sent events", () => {
  test("messages come out whole, comments and unfinished ones do not", () => {
    expect(new SseParser().push(TEXT)).toEqual([
      { event: "run", data: '{"a":1}', id: "7" },
      { event: "message", data: "one\ntwo", id: "" },
    ]);
  });

  test("it does not matter where the network cuts the text", () => {
    const parser = new SseParser();
    expect([...TEXT].flatMap((letter) => parser.push(letter))).toEqual(new SseParser().push(TEXT));
  });

  test("an event's name does not stick to the next message", () => {
    expect(new SseParser().push("event: resync\ndata: {}\n\ndata: x\n\n").map((message) => message.event)).toEqual(["resync", "message"]);
  });
});
