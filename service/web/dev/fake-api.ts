/** The reading API over made-up runs, as middleware of the development server. Shapes only: the real service is the truth.
 *
 * A cookie picks a scene: `fake=empty`, `fake=down`, `fake=login`, `fake=slow`; without it there are seven runs, one of them live.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";
import { advance, makeRuns, type FakeEvent, type FakeRun } from "./fake-runs.ts";

const runs = makeRuns();
const listeners = new Set<(event: string, body: unknown) => void>();

export function fakeApi(): Plugin {
  return {
    name: "fake-api",
    apply: "serve",
    configureServer(server) {
      const timer = setInterval(tick, 500).unref();
      server.httpServer?.on("close", () => clearInterval(timer));
      server.middlewares.use((request, response, next) => {
        const url = new URL(request.url ?? "/", "http://localhost");
        const scene = /fake=(\w+)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
        if (!url.pathname.startsWith("/api/") && !(url.pathname === "/login" && request.method === "POST")) return next();
        if (scene === "down") return answer(response, 503, { error: "overloaded", detail: "the database does not answer" });
        if (scene === "login") return answer(response, 401, { error: "unauthorized", detail: "a read token is needed" });
        setTimeout(() => route(url, scene, request, response), scene === "slow" ? 60_000 : 0);
      });
    },
  };
}

function route(url: URL, scene: string, request: IncomingMessage, response: ServerResponse): void {
  const known = scene === "empty" ? [] : runs;
  if (url.pathname === "/api/v1/live") return stream(request, response);
  if (url.pathname === "/api/v1/dashboard") return answer(response, 200, dashboard(known, url.searchParams));
  const [, id, what] = /^\/api\/v1\/runs\/([^/]+)\/?([\w/]*)$/.exec(url.pathname) ?? [];
  const run = known.find((run) => run.id === id);
  if (run === undefined) return answer(response, 404, { error: "not_found", detail: "there is no such run" });
  if (url.pathname.endsWith("/layers/heatmap")) return void response.writeHead(200, { "Content-Type": "application/vnd.gradvitals.heatmap" }).end(heatmap(run));
  if (url.pathname.endsWith("/layers/series")) return answer(response, 200, layerSeries(run, url.searchParams));
  if (what === "series") return answer(response, 200, series(run, url.searchParams));
  if (what === "layers") return answer(response, 200, layers(run));
  if (what === "events") return answer(response, 200, { events: run.events.map((event, i) => wireEvent(run, event, i)) });
  return answer(response, 200, detail(run));
}

function tick(): void {
  for (const run of runs.filter((run) => run.live)) {
    const first = run.steps;
    advance(run, 5);
    const rows = Array.from({ length: run.steps - first }, (_, i) => first + i);
    const { sparkline: _, ...summary } = summarize(run);
    for (const tell of listeners) {
      tell("run", summary);
      tell("frames", {
        run_id: run.id, monitor: "main", rank: 0, step: rows,
        global_norm: rows.map((i) => wire(run.norm[i]!)), loss: rows.map((i) => wire(run.loss[i]!)),
        clip_coefficient: rows.map((i) => wire(coefficient(run, i))), max_norm: rows.map(() => wire(run.maxNorm)), lr: rows.map((i) => wire(run.lr[i]!)),
      });
    }
  }
}

function stream(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.write(": hello\n\n");
  const tell = (event: string, body: unknown): void => void response.write(`event: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
  listeners.add(tell);
  request.on("close", () => listeners.delete(tell));
}

function dashboard(known: FakeRun[], query: URLSearchParams): unknown {
  const q = (query.get("q") ?? "").toLowerCase();
  const health = query.get("health");
  const totals: Record<string, number> = { healthy: 0, warning: 0, critical: 0, not_measurable: 0, unknown: 0 };
  for (const run of known) totals[run.health] = (totals[run.health] ?? 0) + 1;
  const shown = known.filter((run) => `${run.name} ${run.project} ${run.owner}`.toLowerCase().includes(q) && (health === null || run.health === health));
  const urgency = (run: FakeRun): number => ({ critical: 0, warning: 1 })[run.health] ?? 2;
  const events = known.flatMap((run) => run.events.map((event, i) => wireEvent(run, event, i))).sort((a, b) => b.opened_at.localeCompare(a.opened_at));
  return {
    now: new Date().toISOString(), totals, next_cursor: null, events,
    runs: [...shown].sort((a, b) => urgency(a) - urgency(b) || a.seenSecondsAgo - b.seenSecondsAgo).map(summarize),
  };
}

function summarize(run: FakeRun) {
  const last = run.steps - 1;
  const all = Array.from({ length: run.steps }, (_, i) => coefficient(run, last - i));
  const buckets = bucketed(run.norm, 0, run.steps, Math.max(1, Math.ceil(run.steps / 60)));
  return {
    run_id: run.id, project: run.project, name: run.name, owner: run.owner, group: null, tags: run.tags, state: run.state, health: run.health,
    created_at: ago(run.seenSecondsAgo + 5400), last_seen_at: ago(run.seenSecondsAgo), last_step: last < 0 ? null : last,
    global_norm: last < 0 ? null : wire(run.norm[last]!), loss: last < 0 ? null : wire(run.loss[last]!), max_norm: wire(run.maxNorm),
    clip_rate: all.length ? all.filter((value) => value < 1).length / all.length : null,
    sparkline: { step: buckets.step, min: buckets.min, max: buckets.max, non_finite: buckets.non_finite },
    open_events: run.events.map((event, i) => wireEvent(run, event, i)).filter((event) => event.status === "open"),
  };
}

function detail(run: FakeRun): unknown {
  const monitor = { made: run.steps, spooled: run.live ? 5 : 0, lost: 0, optimizer: "SGD", max_norm: wire(run.maxNorm) === "Infinity" ? null : run.maxNorm, clip_value: null, norm_type: 2 };
  const attempt = { rank: 0, world_size: 1, host: "node7", pid: 4242, started_at: ago(run.seenSecondsAgo + 5400), state: run.state === "unreachable" ? "running" : run.state, last_step: run.steps - 1, heartbeat_at: ago(run.seenSecondsAgo), overhead: 0.0041, exception: run.state === "failed" ? "FloatingPointError" : null };
  return {
    ...summarize(run), config: { lr: 0.7, momentum: 0.9, hidden: 32, schedule: { warm_up: 2000, shape: "cosine" }, seed: 5 }, links: { wandb: "https://example.org/runs/5", odd: "javascript:alert(1)" },
    versions: { gradvitals: "0.1.0", torch: "2.13.0", python: "3.11.7" }, attempts: [{ attempt_id: `${run.id.slice(0, -4)}aaaa`, ...attempt, monitors: { main: monitor } }],
    monitors: ["main"], frames: run.steps, lost: 0, event_revision: run.events.length,
    resume_from: run.steps < 1900 ? null : { newest_clean: { path: `/checkpoints/${run.name}/1900.pt`, step: 1900 }, not_clean: run.health === "critical" ? 2 : 0 },
  };
}

function series(run: FakeRun, query: URLSearchParams): unknown {
  const from = Math.max(0, Number(query.get("from_step") ?? 0));
  const to = Math.min(run.steps, Number(query.get("to_step") ?? run.steps) + 1);
  const bucket = Math.max(1, Math.ceil((to - from) / Number(query.get("points") ?? 1000)));
  const clip = Float64Array.from({ length: run.steps }, (_, i) => coefficient(run, i));
  const columns: Record<string, Float64Array> = {
    global_norm: run.norm, loss: run.loss, lr: run.lr, clip_coefficient: clip,
    clip_rate: clip.map((value) => Number(value < 1)), max_norm: clip.map(() => run.maxNorm),
  };
  const asked = (query.get("metrics") ?? "").split(",").filter((name) => name in columns);
  return {
    run_id: run.id, monitor: "main", rank: 0, frames: Math.max(0, to - from), bucket, step: bucketed(run.norm, from, to, bucket).step,
    series: Object.fromEntries(asked.map((name) => { const { step: _, ...rest } = bucketed(columns[name]!, from, to, bucket); return [name, rest]; })),
    gaps: [], attempts: [], last_step: run.steps > 0 ? run.steps - 1 : null,
  };
}

function layers(run: FakeRun): unknown {
  const norms = run.layers.map((_, i) => 0.4 / (1 + i) ** 0.7);
  const total = norms.reduce((sum, norm) => sum + norm * norm, 0);
  const broken = run.health === "critical";
  return {
    step: run.steps > 0 ? run.steps - 1 : null,
    layers: run.steps === 0 ? [] : run.layers.map((name, i) => ({
      name, module: name.replace(/\.(weight|bias).*$/, ""), shape: [96, 32], numel: 3072, parameter_group: 0, trainable: i !== 2,
      norm: broken && i < 3 ? "NaN" : norms[i]!, share: broken ? null : norms[i]! ** 2 / total, param_norm: 4.2 / (1 + i),
    })),
  };
}

function heatmap(run: FakeRun): Buffer {
  const size = Math.max(1, Math.ceil(run.steps / 360));
  const { step, max } = bucketed(run.norm, 0, run.steps, size);
  let head = JSON.stringify({ run_id: run.id, monitor: "main", rank: 0, frames: run.steps, bucket: size, step, layers: run.layers, statistic: "max", gaps: [], counts: false });
  head += " ".repeat((4 - (Buffer.byteLength(head) % 4)) % 4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(head));
  const values = run.layers.flatMap((_, layer) => max.map((norm) => (norm ?? NaN) / (1 + layer) ** 0.7));
  return Buffer.concat([length, Buffer.from(head), Buffer.from(Float32Array.from(values).buffer)]);
}

function layerSeries(run: FakeRun, query: URLSearchParams): unknown {
  const answer = series(run, new URLSearchParams([...query, ["metrics", "global_norm"]]));
  const { global_norm: whole } = (answer as { series: Record<string, unknown> }).series;
  return { ...(answer as object), series: { norm: whole, global_norm: whole } };
}

function wireEvent(run: FakeRun, event: FakeEvent, index: number) {
  return {
    event_id: `${run.id}-${index}`, run_id: run.id, attempt_id: run.id, monitor: "main", rank: 0, kind: event.kind, severity: event.severity, status: event.status,
    start_step: event.start, end_step: event.end, opened_at: ago(event.minutesAgo * 60), updated_at: ago(event.minutesAgo * 60), resolved_at: event.end === null ? null : ago(event.minutesAgo * 60 - 60),
    peak: event.peak, times_usual: event.times, usual: event.usual, layers: event.layers, message: event.message, revision: index + 1, detector_version: 2,
    peak_step: event.peak === null ? null : event.start, shares: null, first_layer: event.layers[0] ?? null, last_healthy_step: event.start - 1, weights_finite: null, batch_id: null, resume_from: null,
    cause: null, action: null,
  };
}

function bucketed(values: Float64Array, from: number, to: number, size: number) {
  const out = { step: [] as number[], min: [] as (number | null)[], max: [] as (number | null)[], mean: [] as (number | null)[], non_finite: [] as number[] };
  for (let at = from; at < to; at += size) {
    const all = values.subarray(at, Math.min(to, at + size));
    const finite = all.filter(Number.isFinite);
    out.step.push(at);
    out.min.push(finite.length ? Math.min(...finite) : null);
    out.max.push(finite.length ? Math.max(...finite) : null);
    out.mean.push(finite.length ? finite.reduce((a, b) => a + b) / finite.length : null);
    out.non_finite.push(all.length - finite.length);
  }
  return out;
}

function coefficient(run: FakeRun, i: number): number {
  return Math.min(1, run.maxNorm / run.norm[i]!);
}

function wire(value: number): number | string {
  return Number.isFinite(value) ? value : Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

function ago(seconds: number): string {
  return new Date(Date.now() - seconds * 1000).toISOString();
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}
