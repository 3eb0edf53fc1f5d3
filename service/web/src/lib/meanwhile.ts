/** What is told while a reading is under way is told again after it, since the answer may be older. */
import type { LiveMessage } from "./model";

export class Meanwhile {
  readonly #apply: (message: LiveMessage) => void;
  #readings = 0;
  #told: LiveMessage[] = [];

  constructor(apply: (message: LiveMessage) => void) {
    this.#apply = apply;
  }

  /** A message was heard. */
  note(message: LiveMessage): void {
    if (this.#readings > 0 && message.kind !== "resync") this.#told.push(message);
  }

  /** Read; ``reading`` shows its answer and then what was told in the meantime is applied to it. */
  async during(reading: () => Promise<void>): Promise<void> {
    this.#readings++;
    try {
      await reading();
      for (const message of [...this.#told]) this.#apply(message);
    } finally {
      if (--this.#readings === 0) this.#told = [];
    }
  }
}
