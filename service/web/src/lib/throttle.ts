/** Call ``action`` at once and then at most every ``milliseconds``; the last request is never lost. */
export function throttle(action: () => void, milliseconds: number): { (): void; cancel: () => void } {
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
  return request;
}
