/** Which key means what, and where it means nothing: pure, so that typing is never taken for a command. */

export type Action = "search" | "next" | "previous" | "help" | "overview" | "inbox";

export interface Press {
  key: string;
  /** A modifier is held: the key is the browser's, or the system's. Shift is part of the key. */
  modified: boolean;
  /** The key goes to a field. */
  typing: boolean;
  /** When, in milliseconds of any clock. */
  at: number;
}

/** The keys as people are told of them; the first one of two is pressed, then the other. */
export const KEYS: readonly { keys: readonly string[]; action: Action | "open" | "close" }[] = [
  { keys: ["/"], action: "search" },
  { keys: ["j"], action: "next" },
  { keys: ["k"], action: "previous" },
  { keys: ["Enter"], action: "open" },
  { keys: ["g", "r"], action: "overview" },
  { keys: ["g", "e"], action: "inbox" },
  { keys: ["?"], action: "help" },
  { keys: ["Esc"], action: "close" },
];

const ALONE: Record<string, Action> = { "/": "search", j: "next", k: "previous", "?": "help" };
const AFTER_G: Record<string, Action> = { r: "overview", e: "inbox" };
const PATIENCE = 1_500;

/** Remembers a `g` for a moment; all else is decided by the key alone. */
export class Keys {
  #went = -Infinity;

  /** What a key asks for; null where it is somebody else's. */
  hear(press: Press): Action | null {
    if (press.modified || press.typing) return null;
    const afterG = press.at - this.#went <= PATIENCE;
    this.#went = press.key === "g" ? press.at : -Infinity;
    return (afterG ? AFTER_G[press.key] : undefined) ?? ALONE[press.key] ?? null;
  }
}

/** The place after this one among so many, or before; from nowhere to the first, and never beyond an end. */
export function neighbour(count: number, place: number, action: "next" | "previous"): number {
  if (place < 0) return 0;
  return Math.min(Math.max(place + (action === "next" ? 1 : -1), 0), count - 1);
}
