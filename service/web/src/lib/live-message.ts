/** What the live stream says, as the page takes it. */
import type { LiveFrames, LiveMessage, NamedEvent, RunLive } from "./model";
import type { SseMessage } from "./sse";

/** Null for what the page does not know, or what a proxy has cut off: it comes again with the next resync. */
export function parseLive(message: SseMessage): LiveMessage | null {
  if (message.event === "resync") return { kind: "resync" };
  try {
    const body: unknown = JSON.parse(message.data);
    if (message.event === "run") return { kind: "run", run: body as RunLive };
    if (message.event === "event") return { kind: "event", event: body as NamedEvent };
    if (message.event === "frames") return { kind: "frames", frames: body as LiveFrames };
  } catch {
    // not JSON: half a message
  }
  return null;
}
