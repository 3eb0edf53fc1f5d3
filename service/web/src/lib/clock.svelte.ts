/** One ticking clock for all relative times of the page, corrected by the service's own time. */

class Clock {
  now = $state(Date.now());
  #skew = 0;

  constructor() {
    setInterval(() => (this.now = Date.now() + this.#skew), 1000);
  }

  /** The service's idea of now, from an answer that was just received. */
  correct(iso: string): void {
    this.#skew = new Date(iso).getTime() - Date.now();
    this.now = Date.now() + this.#skew;
  }
}

export const clock = new Clock();
