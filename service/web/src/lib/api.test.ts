import { describe, expect, test } from "vitest";
import { Api, ApiError } from "./api";

const answering = (status: number, body: string) => {
  const asked: string[] = [];
  const api = new Api(async (input) => (asked.push(input), new Response(body, { status })));
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
    await api.dashboard({ q: "a&b", health: "critical" });
    await api.series("r", { metrics: ["loss", "lr"], from: 0, to: 10 });
    expect(asked).toEqual(["/api/v1/dashboard?q=a%26b&health=critical", "/api/v1/runs/r/series?metrics=loss%2Clr&points=1000&from_step=0&to_step=10"]);
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
