/** The reading API: one function a question. Every failure is an ApiError that says whether trying again can help. */
import type { Dashboard, Event, EventList, Health, LayersAnswer, RunDetail, SeriesAnswer } from "./model";

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

export class Api {
  readonly #fetch: Fetch;

  constructor(fetcher: Fetch = (input, init) => fetch(input, init)) {
    this.#fetch = fetcher;
  }

  dashboard(query: { q?: string; health?: Health | null; cursor?: string | null }, signal?: AbortSignal): Promise<Dashboard> {
    return this.#get("/dashboard", { q: query.q || null, health: query.health ?? null, cursor: query.cursor ?? null }, signal);
  }

  run(id: string, signal?: AbortSignal): Promise<RunDetail> {
    return this.#get(`/runs/${encodeURIComponent(id)}`, {}, signal);
  }

  series(id: string, query: SeriesQuery, signal?: AbortSignal): Promise<SeriesAnswer> {
    const values = {
      metrics: query.metrics.join(","),
      points: String(query.points ?? 1000),
      from_step: query.from?.toString() ?? null,
      to_step: query.to?.toString() ?? null,
      monitor: query.monitor ?? null,
    };
    return this.#get(`/runs/${encodeURIComponent(id)}/series`, values, signal);
  }

  layers(id: string, monitor: string | null, signal?: AbortSignal): Promise<LayersAnswer> {
    return this.#get(`/runs/${encodeURIComponent(id)}/layers`, { monitor }, signal);
  }

  async events(id: string, signal?: AbortSignal): Promise<Event[]> {
    const answer = await this.#get<EventList>(`/runs/${encodeURIComponent(id)}/events`, {}, signal);
    return answer.events;
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
    const values = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== null);
    const search = values.length === 0 ? "" : `?${new URLSearchParams(values)}`;
    const init = { headers: { Accept: "application/json" }, ...(signal ? { signal } : {}) };
    const response = await this.#send(`/api/v1${path}${search}`, init);
    if (!response.ok) throw await failure(response);
    try {
      return (await response.json()) as Answer;
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError("broken", "the service's answer is not JSON");
    }
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

/** True for the error that an aborted request ends with: nobody waits for it any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
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
