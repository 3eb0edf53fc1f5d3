/** Resolves when what has just changed is on the screen: in the task after the next frame. A hidden page draws none. */
export function painted(): Promise<void> {
  return new Promise((resolve) => {
    if (document.hidden) resolve();
    else requestAnimationFrame(() => setTimeout(resolve));
  });
}
