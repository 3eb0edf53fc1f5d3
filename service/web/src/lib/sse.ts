/** Server-sent events from raw text, by the rules of the HTML standard as far as our service uses them. */

export interface SseMessage {
  event: string;
  data: string;
  /** What the service numbers its messages by; "" where it gave none. */
  id: string;
}

/** Feed it text as it arrives, in any pieces; it gives back the messages that are complete. Comments give none. */
export class SseParser {
  #rest = "";
  #event = "message";
  #id = "";
  #data: string[] = [];

  push(text: string): SseMessage[] {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  #line(line: string): SseMessage[] {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return [];
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    if (field === "id") this.#id = value;
    if (field === "data") this.#data.push(value);
    return [];
  }

  #dispatch(): SseMessage[] {
    const message = { event: this.#event, data: this.#data.join("\n"), id: this.#id };
    const complete = this.#data.length > 0;
    this.#event = "message";
    this.#id = "";
    this.#data = [];
    return complete ? [message] : [];
  }
}
