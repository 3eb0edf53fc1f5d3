/** Keeps the focus on the page: where what had it is taken away, ``home`` gets it, not the top of the document. */
export function keepFocus(home: HTMLElement): () => void {
  let last: Element | null = null;
  const remember = (event: FocusEvent): void => void (last = event.target instanceof Element ? event.target : null);
  const observer = new MutationObserver(() => {
    if (last === null || last.isConnected || document.activeElement !== document.body) return;
    last = null;
    home.focus({ preventScroll: true });
  });
  home.addEventListener("focusin", remember);
  observer.observe(home, { childList: true, subtree: true });
  return () => {
    home.removeEventListener("focusin", remember);
    observer.disconnect();
  };
}
