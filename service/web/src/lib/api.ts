/** The API that the page uses: one function a question. Every failure is an ApiError that says whether trying again can help. */
import { filterQuery, type Choice } from "./choice";
import { fetchEarly } from "./early";
import { decodeHeatmap, type HeatColumns } from "./heatmap/columns";
import { inboxQuery, type InboxFilter } from "./inbox";
import type {
  AdviceAnswer, Dashboard, EventForPeople, EventList, Evidence, Facets, Grouping, Groups, InboxAnswer, LayersAnswer, RunDetail, ScalarsAnswer, SeriesAnswer,
} from "./model";

export type ApiErrorKind = "unauthorized" | "forbidden" | "not_found" | "unreachable" | "refused" | "broken";

export class ApiError extends Error {
  constructor(
    readonly kind: ApiErrorKind,
    message: string,
  ) {
    super(message);
  }
}

export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

export interface SeriesQuery {
  metrics: readonly string[];
  points?: number;
  from?: number | null;
  to?: number | null;
  monitor?: string | null;
}

type EventKey = Pick<EventForPeople, "run_id" | "event_id">;
/** Steps, both ends included, in at most so many points. */
export interface RangeQuery {
  points?: number;
  from?: number | null;
  to?: number | null;
  monitor?: string | null;
}

const HEATMAP = "application/vnd.gradvitals.heatmap";

export class Api {
  readonly #fetch: Fetch;

  constructor(fetcher: Fetch = fetchEarly) {
    this.#fetch = fetcher;
  }

  dashboard(choice: Choice, page: { limit: number; cursor?: string | null }, signal?: AbortSignal): Promise<Dashboard> {
    return this.#get("/dashboard", { ...filterQuery(choice), limit: String(page.limit), cursor: page.cursor ?? null }, signal);
  }

  facets(choice: Choice, signal?: AbortSignal): Promise<Facets> {
    return this.#get("/dashboard/facets", filterQuery(choice), signal);
  }

  groups(choice: Choice, by: Grouping, signal?: AbortSignal): Promise<Groups> {
    return this.#get("/dashboard/groups", { ...filterQuery(choice), by }, signal);
  }

  run(id: string, signal?: AbortSignal): Promise<RunDetail> {
    return this.#get(`/runs/${encodeURIComponent(id)}`, {}, signal);
  }

  series(id: string, query: SeriesQuery, signal?: AbortSignal): Promise<SeriesAnswer> {
    const values = {
      metrics: metricList(query.metrics),
      points: String(query.points ?? 1000),
      from_step: query.from?.toString() ?? null,
      to_step: query.to?.toString() ?? null,
      monitor: query.monitor ?? null,
    };
    return this.#get(`/runs/${encodeURIComponent(id)}/series`, values, signal);
  }

  scalars(id: string, monitor: string | null, signal?: AbortSignal): Promise<ScalarsAnswer> {
    return this.#get(`/runs/${encodeURIComponent(id)}/scalars`, { monitor }, signal);
  }

  layers(id: string, monitor: string | null, signal?: AbortSignal): Promise<LayersAnswer> {
    return this.#get(`/runs/${encodeURIComponent(id)}/layers`, { monitor }, signal);
  }

  /** All layers over steps. Bytes: as JSON it is several times as long. */
  async heatmap(id: string, query: RangeQuery, signal?: AbortSignal): Promise<HeatColumns> {
    const response = await this.#ask(`/runs/${encodeURIComponent(id)}/layers/heatmap`, rangeValues(query), HEATMAP, signal);
    try {
      return decodeHeatmap(await response.arrayBuffer());
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError("broken", "the service's answer is not a heat map");
    }
  }

  /** One layer's norm over steps, beside the global one. */
  layerSeries(id: string, layer: string, query: RangeQuery, signal?: AbortSignal): Promise<SeriesAnswer> {
    return this.#get(`/runs/${encodeURIComponent(id)}/layers/series`, { layer, ...rangeValues(query) }, signal);
  }

  advice(id: string, monitor: string | null, signal?: AbortSignal): Promise<AdviceAnswer> {
    return this.#get(`/runs/${encodeURIComponent(id)}/advice`, { monitor }, signal);
  }

  async events(id: string, signal?: AbortSignal): Promise<EventForPeople[]> {
    const answer = await this.#get<EventList>(`/runs/${encodeURIComponent(id)}/events`, {}, signal);
    return answer.events;
  }

  /** One page of the events of all runs. */
  inbox(filter: InboxFilter, page: { cursor?: string | null; limit?: number } = {}, signal?: AbortSignal): Promise<InboxAnswer> {
    return this.#get("/events", { ...inboxQuery(filter), cursor: page.cursor ?? null, limit: page.limit?.toString() ?? null }, signal);
  }

  evidence(event: EventKey, signal?: AbortSignal): Promise<Evidence> {
    return this.#get(`${eventPath(event)}/evidence`, {}, signal);
  }

  /** Say that one has taken note of an event; gives it as it is then. */
  acknowledge(event: EventKey, note: string): Promise<EventForPeople> {
    return this.#write("PUT", `${eventPath(event)}/acknowledgement`, { note });
  }

  takeBack(event: EventKey): Promise<EventForPeople> {
    return this.#write("DELETE", `${eventPath(event)}/acknowledgement`);
  }

  /** Trade a read token for the browser's session cookie. */
  async login(token: string): Promise<void> {
    const response = await this.#send("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (!response.ok) throw await failure(response);
  }

  async #get<Answer>(path: string, query: Record<string, string | null>, signal?: AbortSignal): Promise<Answer> {
    const response = await this.#ask(path, query, "application/json", signal);
    try {
      const answer = (await response.json()) as Answer;
      signal?.throwIfAborted(); // one that was asked early does not hear of it
      return answer;
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError("broken", "the service's answer is not JSON");
    }
  }

  async #write<Answer>(method: "PUT" | "DELETE", path: string, body?: unknown): Promise<Answer> {
    const content = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await this.#send(`/api/v1${path}`, { method, ...content });
    if (!response.ok) throw await failure(response);
    return (await response.json()) as Answer;
  }

  async #ask(path: string, query: Record<string, string | null>, accept: string, signal?: AbortSignal): Promise<Response> {
    const values = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== null);
    const search = values.length === 0 ? "" : `?${new URLSearchParams(values)}`;
    const response = await this.#send(`/api/v1${path}${search}`, { headers: { Accept: accept }, ...(signal ? { signal } : {}) });
    if (!response.ok) throw await failure(response);
    return response;
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.#fetch(path, init);
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ApiError("unreachable", "the service does not answer");
    }
  }
}

/** Where every frame of some metrics can be had, as the service stores them. */
export function exportPath(id: string, query: Pick<SeriesQuery, "metrics" | "from" | "to" | "monitor">): string {
  const values = { metrics: metricList(query.metrics), from_step: query.from?.toString(), to_step: query.to?.toString(), monitor: query.monitor };
  const given = Object.entries(values).filter((entry): entry is [string, string] => entry[1] != null);
  return `/api/v1/runs/${encodeURIComponent(id)}/export?${new URLSearchParams(given)}`;
}

/** Where the service draws the newest steps as a picture. */
export function picturePath(id: string, monitor: string | null): string {
  const path = `/api/v1/runs/${encodeURIComponent(id)}/chart.png`;
  return monitor === null ? path : `${path}?${new URLSearchParams({ monitor })}`;
}

/** Names separated by commas; those in a name are escaped, as docs/wire.md says. */
function metricList(names: readonly string[]): string {
  return names.map((name) => name.replace(/[\\,]/g, "\\$&")).join(",");
}

function rangeValues({ points, from, to, monitor }: RangeQuery): Record<string, string | null> {
  return { points: String(points ?? 1000), from_step: from?.toString() ?? null, to_step: to?.toString() ?? null, monitor: monitor ?? null };
}

/** True for the error that an aborted request ends with: nobody waits for it any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function eventPath(event: EventKey): string {
  return `/runs/${encodeURIComponent(event.run_id)}/events/${encodeURIComponent(event.event_id)}`;
}

async function failure(response: Response): Promise<ApiError> {
  const detail = await response
    .json()
    .then((body: { detail?: unknown }) => (typeof body.detail === "string" ? body.detail : null))
    .catch(() => null);
  const message = detail ?? `the service answered ${response.status}`;
  if (response.status === 401) return new ApiError("unauthorized", message);
  if (response.status === 403) return new ApiError("forbidden", message);
  if (response.status === 404) return new ApiError("not_found", message);
  return new ApiError(response.status >= 500 ? "broken" : "refused", message);
}
