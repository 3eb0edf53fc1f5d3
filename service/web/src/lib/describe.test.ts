import { describe, expect, test } from "vitest";
import { describeComparison, describeResume, describeRun, firstEvent, worstOf, type Told } from "./describe";
import type { Event, RunDetail } from "./model";

const run = (more: Partial<Told> = {}) => ({ health: "critical", state: "running", last_step: 2119, global_norm: "NaN", clip_rate: null, open_events: [], ...more }) as Told;
const event = (more: Partial<Event>) =>
  ({ event_id: `${more.kind} ${more.start_step}`, status: "open", severity: "critical", layers: [], times_usual: null, end_step: null, first_layer: null, weights_finite: null, ...more }) as Event;

const EXPLOSION = event({ kind: "explosion", start_step: 2041, times_usual: 812, layers: ["gru.weight_hh_l0"] });
const NON_FINITE = event({ kind: "non_finite", start_step: 2043, layers: ["a", "b", "c"] });

describe("a run in words", () => {
  test("says what broke, when, how badly and where", () => {
    expect(describeRun(run(), [EXPLOSION])).toBe("Exploded at step 2,041, 812 times its usual norm; strongest in gru.weight_hh_l0.");
  });

  test("names the layer that left its usual first, where one did before the others", () => {
    expect(describeRun(run(), [{ ...EXPLOSION, first_layer: "head.weight" }])).toBe("Exploded at step 2,041, 812 times its usual norm; first in head.weight.");
  });

  test("never says of the weights more than was measured", () => {
    const lost = { ...NON_FINITE, first_layer: "a", weights_finite: false };
    expect(describeRun(run(), [lost])).toBe("Gradients non-finite since step 2,043; first in a; weights non-finite by now.");
    expect(describeRun(run({ state: "failed" }), [EXPLOSION, lost])).toBe(
      "Exploded at step 2,041, 812 times its usual norm; strongest in gru.weight_hh_l0; non-finite since step 2,043; weights non-finite by step 2,119; the process failed at step 2,119.",
    );
    expect(describeRun(run(), [NON_FINITE])).not.toMatch("weights");
  });

  test("has words for each kind", () => {
    const told = (more: Partial<Event>) => describeRun(run({ health: "warning" }), [event({ severity: "warning", start_step: 1200, ...more })]);
    expect(told({ kind: "vanishing", layers: ["a", "b", "c", "d"] })).toBe("Gradients vanishing since step 1,200; in a, b and 2 more.");
    expect(told({ kind: "clip_saturation", times_usual: 0.03 })).toBe("Clipped on nearly every step since step 1,200, usually to 3 % of the gradient.");
    expect(told({ kind: "instability" })).toBe("Unstable since step 1,200, as runs are before they explode.");
    expect(told({ kind: "two_processes", rank: 3 })).toBe("Two processes train this run at once as rank 3.");
  });

  test("says which optimizer, where a run has two", () => {
    expect(describeRun(run({ monitors: ["main", "critic"] }), [{ ...EXPLOSION, monitor: "critic", layers: [] }])).toBe("Exploded at step 2,041, 812 times its usual norm (optimizer critic).");
  });

  test("a name in another direction of writing turns only itself", () => {
    expect(describeRun(run(), [{ ...EXPLOSION, layers: ["\u202eevil"] }])).toMatch(/strongest in \u2068\u202eevil\u2069\.$/);
  });

  test("is never called healthy before the event that the summary speaks of is here", () => {
    expect(describeRun(run({ open_events: [EXPLOSION] }), [])).toMatch(/^Exploded at step 2,041/);
    expect(describeRun(run(), [])).toBe("Critical: what happened is being read.");
  });

  test("speaks of an explosion before the instability that led to it, and of both by name", () => {
    const unstable = event({ kind: "instability", severity: "warning", start_step: 1990 });
    expect(worstOf([unstable, event({ kind: "explosion", severity: "warning", start_step: 2041 })])?.kind).toBe("explosion");
    expect(describeRun(run({ health: "warning" }), [unstable])).toBe("Unstable since step 1,990, as runs are before they explode.");
  });

  test("tells an explosion and what followed as one story", () => {
    expect(describeRun(run(), [NON_FINITE, EXPLOSION])).toBe("Exploded at step 2,041, 812 times its usual norm; strongest in gru.weight_hh_l0; non-finite since step 2,043.");
  });

  test("begins with the explosion that ended in NaN, also where the clip had absorbed it", () => {
    expect(describeRun(run(), [NON_FINITE, { ...EXPLOSION, severity: "warning" }])).toMatch(/^Exploded at step 2,041, .*; non-finite since step 2,043\.$/);
    expect(describeRun(run(), [NON_FINITE, { ...EXPLOSION, severity: "warning", start_step: 2050 }])).toMatch(/^Gradients non-finite since step 2,043/);
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

  test("a healthy run counts what it got over, and names the gravest", () => {
    const over = (kind: Event["kind"], start_step: number) => event({ kind, start_step, severity: "warning", status: "resolved" });
    expect(describeRun(run({ health: "healthy", global_norm: 1 }), [over("instability", 90), over("explosion", 120)])).toBe("Healthy, with a norm of 1; 2 events are over, the gravest of them (explosion) at step 120.");
  });

  test("says what the process does, and what it ended with", () => {
    const attempt = (launch: string, exception: string | null) => ({ launch, exception }) as RunDetail["attempts"][number];
    const told = (more: Partial<Told>) => describeRun(run({ health: "healthy", global_norm: 1, ...more }), []);
    expect(told({ state: "failed", attempts: [attempt("1", "KeyError"), attempt("2", null), attempt("2", "CUDA out of memory")] })).toBe(
      "Healthy, with a norm of 1; the process failed at step 2,119 with CUDA out of memory.",
    );
    expect(told({ state: "failed", attempts: [attempt("1", "KeyError"), attempt("2", null)] })).toBe("Healthy, with a norm of 1; the process failed at step 2,119.");
    expect(told({ state: "paused" })).toBe("Healthy, with a norm of 1; paused.");
    expect(told({ state: "unreachable" })).toBe("Healthy, with a norm of 1; not heard of for a while.");
    expect(told({ state: "hung" as Told["state"] })).toBe("Healthy, with a norm of 1; hung: no step since 2,119 for a long while.");
    expect(told({ health: "unknown", state: "failed", last_step: null, attempts: [attempt("1", "ImportError")] })).toBe("No step has arrived yet; the process failed with ImportError.");
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
