import { describe, expect, test } from "vitest";
import { diagnose } from "./diagnosis";
import type { Event } from "./model";

const event = (more: Partial<Event>) =>
  ({
    event_id: `${more.kind} ${more.start_step}`, status: "open", severity: "critical", message: "", peak: null, peak_step: null, usual: null,
    weights_finite: null, last_healthy_step: null, cause: null, action: null, ...more,
  }) as Event; // prettier-ignore
const told = (...events: Event[]) => Object.fromEntries(diagnose({ open_events: [] }, events)?.findings.map(({ name, text }) => [name, text]) ?? []);

const EXPLOSION = event({ kind: "explosion", start_step: 2041, last_healthy_step: 2038, weights_finite: true });

describe("what a person needs to know of trouble", () => {
  test("there is nothing to say where nothing goes on", () => {
    expect(diagnose({ open_events: [] }, [])).toBeNull();
    expect(diagnose({ open_events: [] }, [{ ...EXPLOSION, status: "resolved" }])).toBeNull();
    expect(diagnose({ open_events: [] }, [{ ...EXPLOSION, severity: "info" }])).toBeNull();
  });

  test("finite weights are not called clean after an explosion that was applied", () => {
    expect(told(EXPLOSION)["Weights"]).toBe("Still finite, but hit: take what was saved from step 2,039 on for damaged until the loss is back.");
    expect(told({ ...EXPLOSION, severity: "warning" })["Weights"]).toBe("Still finite.");
  });

  test("weights that were not measured since a bad gradient are not known", () => {
    expect(told(EXPLOSION, event({ kind: "non_finite", start_step: 2043 }))["Weights"]).toBe("Not measured since; they may be spoiled.");
  });

  test("weights that are lost were so from the gradient on that spoiled them", () => {
    const lost = event({ kind: "non_finite", start_step: 2043, weights_finite: false });
    expect(told({ ...EXPLOSION, weights_finite: false }, lost)["Weights"]).toBe("Not finite. Take what was saved from step 2,043 on for spoiled.");
  });

  test("of other kinds nothing is said about the weights, but what was seen", () => {
    expect(told(event({ kind: "clip_saturation", severity: "warning", message: "the threshold clips 97 % of the steps" }))).toEqual({ Seen: "The threshold clips 97 % of the steps" });
  });

  test("a guess and what follows from it are marked as such", () => {
    const guessed = { ...EXPLOSION, cause: "perhaps: the learning rate, which rose from 0.1 to 0.5 at step 2041", action: "lower the learning rate, and resume from 1900.pt" };
    const findings = diagnose({ open_events: [] }, [guessed])?.findings ?? [];
    expect(findings.filter((finding) => finding.guess).map((finding) => finding.text)).toEqual([
      "The learning rate, which rose from 0.1 to 0.5 at step 2041",
      "Lower the learning rate, and resume from 1900.pt",
    ]);
  });

  test("says how high the norm went, when, what is usual, and when it was healthy last", () => {
    expect(told({ ...EXPLOSION, peak: 1234.5, peak_step: 2044, usual: 1.52 })["Norm"]).toBe("Up to 1,235 at step 2,044, usually 1.52; last healthy at step 2,038");
    expect(told({ ...EXPLOSION, peak: "NaN" })["Norm"]).toBe("Last healthy at step 2,038");
    expect(told({ ...EXPLOSION, last_healthy_step: null })).not.toHaveProperty("Norm");
  });
});
