/** What the inbox is asked for, and how its list takes what happens meanwhile. Pure. */
import type { EventForPeople, InboxEvent } from "./model";

export interface InboxFilter {
  status: EventForPeople["status"] | null;
  severity: EventForPeople["severity"] | null;
  kind: string | null;
  acknowledged: boolean | null;
  project: string | null;
  run: string | null;
  q: string;
}

export const EVERYTHING: InboxFilter = { status: null, severity: null, kind: null, acknowledged: null, project: null, run: null, q: "" };
export const SEVERITIES: readonly EventForPeople["severity"][] = ["critical", "warning", "info"];
export const STATUSES: readonly EventForPeople["status"][] = ["open", "resolved"];
export const KINDS: readonly string[] = ["explosion", "non_finite", "vanishing", "clip_saturation", "instability", "two_processes"];

/** The filter in the words of an address, which are those of the service too. */
export function inboxQuery(filter: Partial<InboxFilter>): Record<string, string | null> {
  const { status = null, severity = null, kind = null, acknowledged = null, project = null, run = null, q = "" } = filter;
  return { status, severity, kind, acknowledged: acknowledged === null ? null : acknowledged ? "yes" : "no", project, run, q: q || null };
}

/** What an address asks for; what it says nonsense about is not asked. */
export function parseInbox(query: URLSearchParams): InboxFilter {
  const among = <Word extends string>(words: readonly Word[], name: string): Word | null => words.find((word) => word === query.get(name)) ?? null;
  const acknowledged = among(["yes", "no"], "acknowledged");
  return {
    status: among(STATUSES, "status"),
    severity: among(SEVERITIES, "severity"),
    kind: among(KINDS, "kind"),
    acknowledged: acknowledged === null ? null : acknowledged === "yes",
    project: query.get("project"),
    run: query.get("run"),
    q: query.get("q") ?? "",
  };
}

export function asksForAll(filter: InboxFilter): boolean {
  return Object.values(inboxQuery(filter)).every((value) => value === null);
}

/** The list with newer words about events that are in it; each stays where it is, so that nothing moves under the mouse. */
export function update(events: readonly InboxEvent[], told: readonly EventForPeople[]): InboxEvent[] {
  const newest = new Map(told.map((event) => [event.event_id, event]));
  return events.map((event) => {
    const newer = newest.get(event.event_id);
    return newer === undefined || newer.revision <= event.revision ? event : { ...event, ...newer };
  });
}

/** Those of a page that the list does not have. */
export function unknownOf(events: readonly InboxEvent[], page: readonly InboxEvent[]): InboxEvent[] {
  const known = new Set(events.map((event) => event.event_id));
  return page.filter((event) => !known.has(event.event_id));
}

/** The list with new events in it: what goes on at the top, what is over already before the older ones of its kind. */
export function insert(events: readonly InboxEvent[], arrived: readonly InboxEvent[]): InboxEvent[] {
  const fresh = unknownOf(events, arrived);
  const list = [...fresh.filter((event) => event.status === "open"), ...events];
  for (const event of fresh.filter((event) => event.status !== "open")) {
    const place = list.findIndex((other) => other.status !== "open" && other.opened_at < event.opened_at);
    list.splice(place < 0 ? list.length : place, 0, event);
  }
  return list;
}
