import { describe, expect, test } from "vitest";
import { describeComparison, describeResume, describeRun, firstEvent, worstOf } from "./describe";
import type { Event, RunDetail, RunLive } from "./model";

const run = (more: Partial<RunLive> = {}) => ({ health: "critical", state: "running", last_step: 2119, global_norm: "NaN", ...more }) as RunLive;
const event = (more: Partial<Event>) => ({ status: "open", severity: "critical", layers: [], times_usual: null, end_step: null, ...more }) as Event;

const EXPLOSION = event({ kind: "explosion", start_step: 2041, times_usual: 812, layers: ["gru.weight_hh_l0"] });
const NON_FINITE = event({ kind: "non_finite", start_step: 2043, layers: ["a", "b", "c"] });

describe("a run in words", () => {
  test("says what broke, when, how badly and where", () => {
    expect(describeRun(run(), [EXPLOSION])).toBe("Exploded at step 2,041, 812 times its usual norm; strongest in gru.weight_hh_l0.");
  });

  test("speaks of an explosion before the instability that led to it, and of both by name", () => {
    const unstable = event({ kind: "instability", severity: "warning", start_step: 1990 });
    expect(worstOf([unstable, event({ kind: "explosion", severity: "warning", start_step: 2041 })])?.kind).toBe("explosion");
    expect(describeRun(run({ health: "warning" }), [unstable])).toBe("Instability since step 1,990.");
  });

  test("tells an explosion and what followed as one story", () => {
    expect(describeRun(run(), [NON_FINITE, EXPLOSION])).toBe("Exploded at step 2,041, 812 times its usual norm; strongest in gru.weight_hh_l0; non-finite since step 2,043.");
  });

  test("names two layers and counts the rest", () => {
    expect(describeRun(run(), [NON_FINITE])).toBe("Gradients non-finite since step 2,043; first in a, b and 1 more.");
  });

  test("an infinite multiple is said, not hidden", () => {
    expect(describeRun(run(), [event({ kind: "explosion", start_step: 5, times_usual: "Infinity" })])).toBe("Exploded at step 5, ∞ times its usual norm.");
  });

  test("a healthy run says its norm and clip rate, and what it got over", () => {
    const over = event({ kind: "explosion", start_step: 120, status: "resolved", end_step: 160 });
    expect(describeRun(run({ health: "healthy", global_norm: 0.26, clip_rate: 0.49 }), [over])).toBe("Healthy, with a norm of 0.26; 49 % of its steps clipped; an explosion at step 120 is over.");
  });

  test("health and state are told apart", () => {
    expect(describeRun(run({ health: "healthy", global_norm: 1, clip_rate: 0, state: "finished", last_step: 4999 }), [])).toBe("Healthy, with a norm of 1; nothing clipped; finished at step 4,999.");
  });

  test("what cannot be known is not called healthy", () => {
    expect(describeRun(run({ health: "unknown" }), [])).toBe("No step has arrived yet.");
    expect(describeRun(run({ health: "not_measurable" }), [])).toMatch(/^Not measurable/);
  });
});

describe("where to resume", () => {
  const CLEAN = { path: "/checkpoints/1900.pt", step: 1900 };
  const told = (resume_from: RunDetail["resume_from"], more: Partial<RunDetail> = {}) => describeResume({ health: "critical", state: "running", resume_from, ...more });

  test("names the newest clean checkpoint and counts those after it", () => {
    expect(told({ newest_clean: CLEAN, not_clean: 2 })).toEqual({ lead: "Resume from step 1,900:", path: "/checkpoints/1900.pt", rest: "(2 later ones are not clean)" });
    expect(told({ newest_clean: CLEAN, not_clean: 1 })?.rest).toBe("(1 later one is not clean)");
  });

  test("a run that is well has nothing to resume, only a checkpoint", () => {
    expect(told({ newest_clean: CLEAN, not_clean: 0 }, { health: "healthy" })).toEqual({ lead: "Newest checkpoint, of step 1,900:", path: "/checkpoints/1900.pt", rest: "" });
  });

  test("a failed run is to be resumed, however well it was", () => {
    expect(told({ newest_clean: CLEAN, not_clean: 0 }, { health: "healthy", state: "failed" })?.lead).toBe("Resume from step 1,900:");
  });

  test("says so where none is clean", () => {
    expect(told({ newest_clean: null, not_clean: 3 })).toEqual({ lead: "None of the 3 known checkpoints is clean.", path: null, rest: "" });
    expect(told({ newest_clean: null, not_clean: 1 })?.lead).toBe("The only known checkpoint is not clean.");
  });

  test("where no checkpoint is known there is nothing to say", () => expect(told(null)).toBeNull());
});

describe("runs compared in words", () => {
  test("one broke, the other learned", () => {
    const told = describeComparison([
      { name: "unclipped", events: [EXPLOSION, NON_FINITE], finalLoss: null },
      { name: "clipped", events: [], finalLoss: 1.6e-4 },
    ]);
    expect(told).toBe("unclipped exploded at step 2,041; clipped had no event and reached a loss of 1.6e-4.");
  });

  test("nothing happened anywhere", () => expect(describeComparison([{ name: "a", events: [], finalLoss: 1 }])).toBe("No run had an event."));
});

describe("choosing an event", () => {
  test("the worst is the most severe, and among equals the cause", () => {
    expect(worstOf([NON_FINITE, EXPLOSION, event({ kind: "explosion", severity: "warning", start_step: 1 })])).toBe(EXPLOSION);
    expect(worstOf([])).toBeNull();
  });

  test("information is not an event that a comparison begins with", () => {
    expect(firstEvent([event({ kind: "non_finite", severity: "info", start_step: 1 }), NON_FINITE])).toBe(NON_FINITE);
  });
});
