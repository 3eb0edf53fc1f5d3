import { describe, expect, test } from "vitest";
import { Api, ApiError, exportPath } from "./api";
import { EVERYTHING } from "./choice";

const answering = (status: number, body: string) => {
  const asked: string[] = [];
  const api = new Api(async (input, init) => (asked.push([init?.method, input, init?.body].filter(Boolean).join(" ")), new Response(body, { status })));
  return { api, asked };
};
const failureOf = async (request: Promise<unknown>): Promise<[string, string]> => {
  const error = await request.then(() => null, (error: unknown) => error);
  if (!(error instanceof ApiError)) throw new Error("it did not fail as it should");
  return [error.kind, error.message];
};

describe("the reading API", () => {
  test("asks for what is wanted and leaves out what is not", async () => {
    const { api, asked } = answering(200, "{}");
    await api.dashboard({ ...EVERYTHING, q: "a&b", owner: "", by: "tag" }, { limit: 40 });
    await api.series("r", { metrics: ["loss", "lr"], from: 0, to: 10 });
    expect(asked).toEqual(["/api/v1/dashboard?q=a%26b&owner=&limit=40", "/api/v1/runs/r/series?metrics=loss%2Clr&points=1000&from_step=0&to_step=10"]);
  });

  test("a comma in a scalar's name does not part it", async () => {
    const { api, asked } = answering(200, "{}");
    await api.series("r", { metrics: ["top 1, %", "a\\b"] });
    expect(new URL(asked[0] ?? "", "http://host").searchParams.get("metrics")).toBe("top 1\\, %,a\\\\b");
  });

  test("every frame of what a chart shows has an address", () => {
    expect(exportPath("r", { metrics: ["loss"], from: 5, to: 9, monitor: null })).toBe("/api/v1/runs/r/export?metrics=loss&from_step=5&to_step=9");
  });

  test("says what a person says to an event, and takes it back", async () => {
    const { api, asked } = answering(200, "{}");
    const event = { run_id: "r", event_id: "e/1" };
    await api.acknowledge(event, "seen");
    await api.takeBack(event);
    const path = "/api/v1/runs/r/events/e%2F1/acknowledgement";
    expect(asked).toEqual([`PUT ${path} {"note":"seen"}`, `DELETE ${path}`]);
  });

  test("a refusal carries the service's own sentence", async () => {
    const { api } = answering(404, '{"error":"not_found","detail":"there is no run \'x\'"}');
    expect(await failureOf(api.run("x"))).toEqual(["not_found", "there is no run 'x'"]);
  });

  test("a browser that is not known, or not for this, is told apart from an outage", async () => {
    expect((await failureOf(answering(403, '{"detail":"an ingest token may not read"}').api.run("x")))).toEqual(["forbidden", "an ingest token may not read"]);
    expect((await failureOf(answering(401, "").api.run("x")))[0]).toBe("unauthorized");
    expect((await failureOf(answering(503, "<html>").api.run("x")))[0]).toBe("broken");
    expect((await failureOf(answering(200, "<html>").api.run("x")))[0]).toBe("broken");
    expect((await failureOf(new Api(() => Promise.reject(new TypeError("refused"))).run("x")))[0]).toBe("unreachable");
  });
});
