import { describe, expect, test } from "vitest";
import { asksForAll, EVERYTHING, insert, inboxQuery, parseInbox, unknownOf, update } from "./inbox";
import type { InboxEvent } from "./model";
import { inboxPath, parseRoute } from "./routes";

const event = (id: string, more: Partial<InboxEvent> = {}): InboxEvent =>
  ({ event_id: id, status: "open", opened_at: "2026-01-01", revision: 1, acknowledgement: null, run_name: `run of ${id}`, ...more }) as InboxEvent;
const ids = (events: readonly InboxEvent[]): string => events.map((event) => event.event_id).join("");

describe("the filter of the inbox", () => {
  test("survives its address", () => {
    const filter = { ...EVERYTHING, status: "open", severity: "critical", kind: "explosion", acknowledged: false, project: "a/b & c", run: "r-1", q: "gru" } as const;
    const { pathname, search } = new URL(inboxPath(filter), "http://host");
    expect(parseRoute(pathname, search)).toEqual({ view: "inbox", filter });
    expect(inboxPath(EVERYTHING)).toBe("/events");
  });

  test("asks for all where an address is nonsense", () => {
    const parsed = parseInbox(new URLSearchParams("status=shut&severity=bad&kind=stall&acknowledged=perhaps"));
    expect(parsed).toEqual(EVERYTHING);
    expect([asksForAll(parsed), asksForAll({ ...EVERYTHING, acknowledged: false })]).toEqual([true, false]);
  });

  test("speaks the words of the service", () => {
    expect(inboxQuery({ acknowledged: true, q: "" })).toMatchObject({ acknowledged: "yes", q: null });
  });
});

describe("the list of events", () => {
  const list = [event("a"), event("b"), event("c", { status: "resolved", opened_at: "2025-12-30" })];

  test("takes newer words where the event stands, and keeps whose it is", () => {
    const { run_name: _, ...told } = event("a", { status: "resolved", revision: 2 });
    const resolved = update(list, [told]);
    expect([ids(resolved), resolved[0]?.status, resolved[0]?.run_name]).toEqual(["abc", "resolved", "run of a"]);
    expect(update(list, [event("b", { message: "older", revision: 1 })])).toEqual(list);
  });

  test("has a new event at its top, and one that is over already among those that are over", () => {
    expect(ids(insert(list, [event("d"), event("b")]))).toBe("dabc");
    expect(ids(insert(list, [event("d", { status: "resolved", opened_at: "2026-01-02" })]))).toBe("abdc");
    expect(ids(insert(list, [event("d", { status: "resolved", opened_at: "2020-01-01" })]))).toBe("abcd");
  });

  test("knows what it has not seen yet", () => {
    expect(ids(unknownOf(list, [event("b"), event("e")]))).toBe("e");
  });
});
