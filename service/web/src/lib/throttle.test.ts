import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { throttle } from "./throttle";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the first request acts at once, many in a row act once more", () => {
  const action = vi.fn();
  const request = throttle(action, 100);
  for (let i = 0; i < 5; i++) request();
  expect(action).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1000);
  expect(action).toHaveBeenCalledTimes(2);
});

test("a cancelled request does not come later", () => {
  const action = vi.fn();
  const request = throttle(action, 100);
  request();
  request();
  request.cancel();
  vi.advanceTimersByTime(1000);
  expect(action).toHaveBeenCalledTimes(1);
});

test("what was done otherwise is not done again at once", () => {
  const action = vi.fn();
  const request = throttle(action, 100);
  request.done();
  request();
  expect(action).not.toHaveBeenCalled();
  vi.advanceTimersByTime(100);
  expect(action).toHaveBeenCalledTimes(1);
});
