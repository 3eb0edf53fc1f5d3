/** The shared worker of all tabs: it holds their one live stream. */
import { Connection } from "./connection";
import { SharedLive, type FromTab, type Tell } from "./shared-live";

const PING_EVERY = 20_000;

const shared = new SharedLive((options) => new Connection({ ...options, fetch: (input, init) => fetch(input, init) }));
setInterval(() => shared.ping(), PING_EVERY);

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (port === undefined) return;
  const tell: Tell = (message) => port.postMessage(message);
  port.onmessage = ({ data }: MessageEvent<FromTab>) => shared.hear(tell, data);
});
