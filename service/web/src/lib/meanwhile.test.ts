import { expect, test } from "vitest";
import { Meanwhile } from "./meanwhile";
import type { LiveMessage } from "./model";

const event = { kind: "event", event: { event_id: "e" } } as LiveMessage;

test("what is told during a reading is applied again after its answer, once", async () => {
  const steps: string[] = [];
  const meanwhile = new Meanwhile((message) => steps.push(message.kind));
  meanwhile.note(event);
  await meanwhile.during(async () => {
    meanwhile.note(event);
    meanwhile.note({ kind: "resync" });
    steps.push("answer");
  });
  await meanwhile.during(async () => void steps.push("next answer"));
  expect(steps).toEqual(["answer", "event", "next answer"]);
});

test("a reading that fails applies nothing", async () => {
  const steps: string[] = [];
  const meanwhile = new Meanwhile((message) => steps.push(message.kind));
  const failing = meanwhile.during(async () => {
    meanwhile.note(event);
    throw new Error("unreachable");
  });
  await expect(failing).rejects.toThrow("unreachable");
  expect(steps).toEqual([]);
});
