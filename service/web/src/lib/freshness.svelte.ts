/** How old what the view shows is: since when its readings fail although something is on the screen. */

class Freshness {
  /** When the last reading succeeded, in this browser's clock. */
  readAt = $state<number | null>(null);
  /** Reads again, where the last reading has failed; null while all is well. */
  retry = $state.raw<(() => void) | null>(null);

  /** Another view is shown: what the last one could not read is no business of it. */
  begin(): void {
    this.readAt = null;
    this.retry = null;
  }

  /** A reading has succeeded. */
  read(): void {
    this.readAt = Date.now();
    this.retry = null;
  }

  /** A later reading has failed: what is shown stays, and is as old as the last one that succeeded. */
  fail(retry: () => void): void {
    this.retry = retry;
  }
}

export const freshness = new Freshness();
