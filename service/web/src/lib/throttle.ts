export interface Throttled {
  (): void;
  cancel: () => void;
  /** What it does was just done otherwise: the next time is not at once. */
  done: () => void;
}

/** Call ``action`` at once and then at most every ``milliseconds``; the last request is never lost. */
export function throttle(action: () => void, milliseconds: number): Throttled {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wanted = false;
  const rest = (): void => {
    timer = undefined;
    if (wanted) fire();
  };
  const fire = (): void => {
    wanted = false;
    timer = setTimeout(rest, milliseconds);
    action();
  };
  const request = (): void => {
    if (timer === undefined) fire();
    else wanted = true;
  };
  request.cancel = (): void => {
    clearTimeout(timer);
    timer = undefined;
    wanted = false;
  };
  request.done = (): void => {
    clearTimeout(timer);
    wanted = false;
    timer = setTimeout(rest, milliseconds);
  };
  return request;
}
