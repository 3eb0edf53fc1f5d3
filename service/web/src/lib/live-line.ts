/** This tab's way to the stream that all tabs share: through the shared worker, or by itself where there is none. */
import { Connection } from "./connection";
import LiveWorker from "./live-worker?sharedworker";
import { SharedLive, type FromTab, type Tell, type ToTab } from "./shared-live";

export type Say = (message: FromTab) => void;

/** ``lost`` is called when the worker could not be started (a new version has taken its place): then stay by yourself. */
export function reachShared(tell: Tell, lost: () => void): Say {
  if (typeof SharedWorker === "undefined") return reachAlone(tell);
  try {
    const worker = new LiveWorker();
    worker.onerror = lost;
    worker.port.onmessage = ({ data }: MessageEvent<ToTab>) => tell(data);
    return (message) => worker.port.postMessage(message);
  } catch {
    return reachAlone(tell); // forbidden by the browser's settings
  }
}

export function reachAlone(tell: Tell): Say {
  const alone = new SharedLive((options) => new Connection({ ...options, fetch: (input, init) => fetch(input, init) }));
  return (message) => alone.hear(tell, message);
}
