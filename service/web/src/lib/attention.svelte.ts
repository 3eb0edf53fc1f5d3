/** How many open critical events nobody has taken note of: read again when one is told of, and now and then. */
import { Api, ApiError } from "./api";
import { EVERYTHING } from "./inbox";
import { throttle } from "./throttle";

const AT_MOST_EVERY = 1_000;
const AT_LEAST_EVERY = 60_000;

class Attention {
  count = $state(0);
  readonly #api = new Api();
  readonly read = throttle(() => void this.#read(), AT_MOST_EVERY);

  constructor() {
    setInterval(() => document.hidden || this.read(), AT_LEAST_EVERY);
  }

  /** A failure leaves the count as it was: the view beneath says what is wrong. */
  async #read(): Promise<void> {
    try {
      this.count = (await this.#api.inbox(EVERYTHING, { limit: 1 })).totals.needs_somebody;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }
}

export const attention = new Attention();
