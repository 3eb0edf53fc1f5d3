import { describe, expect, test } from "vitest";
import { Keys, KEYS, neighbour, type Press } from "./keys";

function press(key: string, changes: Partial<Press> = {}): Press {
  return { key, modified: false, typing: false, at: 0, ...changes };
}

describe("a key", () => {
  test.each([
    ["/", "search"],
    ["j", "next"],
    ["k", "previous"],
    ["?", "help"],
    ["x", null],
    ["Enter", null],
    ["r", null],
  ])("%s means %s", (key, action) => expect(new Keys().hear(press(key))).toBe(action));

  test("means nothing while somebody types", () => expect(new Keys().hear(press("j", { typing: true }))).toBeNull());

  test("with a modifier is the browser's", () => expect(new Keys().hear(press("k", { modified: true }))).toBeNull());
});

describe("g and another key", () => {
  test("go to a view", () => {
    const keys = new Keys();
    expect(keys.hear(press("g"))).toBeNull();
    expect(keys.hear(press("e", { at: 500 }))).toBe("inbox");
    expect(keys.hear(press("r", { at: 600 }))).toBeNull();
  });

  test("are forgotten when they take too long", () => {
    const keys = new Keys();
    keys.hear(press("g"));
    expect(keys.hear(press("r", { at: 5_000 }))).toBeNull();
  });

  test("do not swallow a key that means something by itself", () => {
    const keys = new Keys();
    keys.hear(press("g"));
    expect(keys.hear(press("j"))).toBe("next");
  });
});

test("every key that means something is told to people", () => {
  const keys = new Keys();
  for (const { keys: [first = "", second], action } of KEYS) {
    const heard = second === undefined ? keys.hear(press(first)) : (keys.hear(press(first)), keys.hear(press(second)));
    if (action !== "open" && action !== "close") expect(heard).toBe(action);
  }
});

test("runs are walked from the first one to the last one and not beyond", () => {
  expect(neighbour(3, -1, "next")).toBe(0);
  expect(neighbour(3, 0, "next")).toBe(1);
  expect(neighbour(3, 2, "next")).toBe(2);
  expect(neighbour(3, 0, "previous")).toBe(0);
});
