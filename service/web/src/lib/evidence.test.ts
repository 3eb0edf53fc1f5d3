import { describe, expect, test } from "vitest";
import { evidenceCharts, evidenceFacts, eventFacts } from "./evidence";
import type { Event, Evidence } from "./model";

const event = (more: Partial<Event> = {}): Event =>
  ({
    kind: "explosion", severity: "critical", status: "open", start_step: 2, end_step: null, times_usual: 812, layers: ["a", "b"], first_layer: "gru.weight", weights_finite: true,
    batch_id: "batch 17", resume_from: { path: "/checkpoints/1.pt", step: 1 }, ...more,
  }) as Event;

const evidence: Evidence = {
  event_id: "e", run_id: "r", attempt_id: "a", monitor: "main", complete: true, start_row: 2, last_healthy_step: 1, clean_checkpoint: null,
  clip_rate_before: 0, clip_rate_after: 1, scalars: {},
  columns: {
    step: [0, 1, 2, 3], time: [0, 1, 2, 3], global_norm: [1, 1.5, 900, "NaN"], clip_coefficient: [1, 1, 0.1, "NaN"], max_norm: ["Infinity", "Infinity", "Infinity", "Infinity"],
    lr: [0.1, 0.1, 0.5, 0.5], loss: [2, null, 3, "NaN"], loss_scale: [1, 1, 1, 1], flags: [2, 0, 2, 1], batch_id: [null, null, "batch 17", null],
  },
  layers: Array.from({ length: 7 }, (_, index) => ({ name: `layer ${index}`, norms: [1, 1, 1, 1] })),
};

const said = (facts: { label: string; text: string; code?: string }[]): string[] => facts.map(({ label, text, code }) => [label, code, text].filter(Boolean).join(" "));

describe("what an event says", () => {
  test("is its size, the first layer, the weights and where to go on", () => {
    expect(said(eventFacts(event()))).toEqual(["Size 812 × usual", "First layer gru.weight", "Weights still finite", "Resume from /checkpoints/1.pt step 1"]);
  });

  test("names the worst layers where no one was first, and counts the others", () => {
    expect(said(eventFacts(event({ first_layer: null, layers: ["a", "b", "c", "d", "e"] })))[1]).toBe("Layers a, b, c and 2 more");
  });

  test("calls spoiled weights bad, and is silent about weights that such an event does not spoil", () => {
    expect(eventFacts(event({ weights_finite: false })).find(({ bad }) => bad)?.text).toBe("not finite any more");
    expect(said(eventFacts(event({ kind: "vanishing", times_usual: 0.001, first_layer: null, layers: [], resume_from: null })))).toEqual(["Size 0.001 × usual"]);
  });

  test("of a saturated clip is the typical coefficient, not a size", () => {
    expect(said(eventFacts(event({ kind: "clip_saturation", times_usual: 0.05 })))[0]).toBe("Typical clip coefficient 0.05");
  });
});

describe("the evidence of an event", () => {
  test("tells what was and what became of it at the alarm", () => {
    expect(said(evidenceFacts(event(), evidence))).toEqual(["Last healthy step 1", "Batch batch 17", "Learning rate 0.1 → 0.5", "Clip rate 0 % → 100 %"]);
  });

  test("speaks of the loss scale where there is one, and of a missing checkpoint where somebody needs it", () => {
    const scaled = { ...evidence, columns: { ...evidence.columns, loss_scale: [65536, 65536, 32768, 32768] } };
    expect(said(evidenceFacts(event({ resume_from: null, batch_id: null }), scaled)).slice(-2)).toEqual(["Loss scale 65,536 → 32,768", "Resume from no clean checkpoint is known"]);
  });

  test("is drawn with the alarm, the steps that were not finite, and five layers at most", () => {
    const [norm, loss, layers] = evidenceCharts(event(), evidence);
    expect(norm?.overlay).toEqual({ events: [{ from: 2, to: null, color: "--critical" }], nonFinite: [{ step: [3], color: "--non-finite", row: 0 }] });
    expect([norm?.axis, norm?.lines.map(({ label, high }) => [label, high])]).toEqual(["log", [["Gradient norm", [1, 1.5, 900, null]]]]);
    expect([loss?.axis, loss?.overlay.nonFinite?.[0]?.step]).toEqual(["log", [3]]);
    expect(layers?.lines.map(({ label }) => label)).toEqual(["layer 0", "layer 1", "layer 2", "layer 3", "layer 4"]);
  });

  test("is told to a screen reader in numbers", () => {
    expect(evidenceCharts(event(), evidence)[0]?.summary).toBe("Gradient norm: last NaN, largest 900, 1 non-finite step; the alarm was raised at step 2");
  });

  test("has no chart of a loss that nobody logged, and a threshold only where there is one", () => {
    const columns = { ...evidence.columns, loss: [null, null, null, null], max_norm: [0.5, 0.5, 0.5, 0.5] };
    const charts = evidenceCharts(event(), { ...evidence, columns });
    expect(charts.map(({ key }) => key)).toEqual(["norm", "layers"]);
    expect(charts[0]?.lines.map(({ label }) => label)).toEqual(["Gradient norm", "max_norm"]);
  });
});
