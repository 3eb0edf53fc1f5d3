/** Made-up training runs for developing the page without a service: shaped as the real ones, invented from a seed. */

export interface FakeRun {
  id: string;
  project: string;
  name: string;
  owner: string;
  tags: string[];
  state: string;
  health: string;
  seenSecondsAgo: number;
  maxNorm: number;
  steps: number;
  layers: string[];
  live: boolean;
  events: FakeEvent[];
  norm: Float64Array;
  loss: Float64Array;
  lr: Float64Array;
}

export interface FakeEvent {
  kind: string;
  severity: string;
  status: string;
  start: number;
  end: number | null;
  peak: number | null;
  times: number | null;
  usual: number | null;
  layers: string[];
  message: string;
  minutesAgo: number;
}

type Rule = (step: number, noise: () => number) => { norm: number; loss: number; lr: number };

const GRU = ["gru.weight_ih_l0", "gru.weight_hh_l0", "gru.bias_ih_l0", "gru.bias_hh_l0", "head.weight", "head.bias"];
const TRANSFORMER = Array.from({ length: 48 }, (_, i) => `blocks.${Math.floor(i / 4)}.${["attn.qkv", "attn.out", "mlp.up", "mlp.down"][i % 4]}.weight`);

const warmUp = (step: number): number => (step < 2000 ? (0.7 * step) / 2000 : 0.35 * (1 + Math.cos((Math.PI * (step - 2000)) / 3000)));

function gru(unclipped: boolean): Rule {
  return (step, noise) => {
    const falling = unclipped ? 1 : step < 2800 ? 1 : Math.max(0.008, Math.exp(-(step - 2800) / 450));
    const usual = 0.18 * Math.exp(0.9 * noise()) * falling;
    const loss = (step < 50 ? 1.2 - step * 0.02 : 0.17) * Math.exp(0.25 * noise()) * falling ** 1.35;
    if (!unclipped || step < 1996) return { norm: usual, loss, lr: warmUp(step) };
    if (step >= 2041) return { norm: NaN, loss: NaN, lr: warmUp(step) };
    const blown = usual * Math.exp((step - 1996) ** 1.6 / 34);
    return { norm: blown, loss: loss * Math.max(1, blown / 4), lr: warmUp(step) };
  };
}

const transformer: Rule = (step, noise) => {
  const spike = step % 977 === 500 ? 14 : 1;
  return { norm: (0.35 + 2.4 * Math.exp(-step / 300)) * Math.exp(0.22 * noise()) * spike, loss: 2.1 + 7.5 * Math.exp(-step / 900) + 0.05 * noise(), lr: 3e-4 * Math.min(1, step / 400) };
};
const vanishing: Rule = (step, noise) => ({ norm: 0.8 * Math.exp(0.3 * noise()) * (step < 600 ? 1 : Math.exp(-(step - 600) / 60) + 2e-7), loss: 2.303 + 0.004 * noise(), lr: 0.01 });
const flat: Rule = (_step, noise) => ({ norm: 1 - 1e-7 * Math.abs(noise()), loss: 0.9 + 0.02 * noise(), lr: 1e-3 });
const converging: Rule = (step, noise) => ({ norm: 3 * Math.exp(-step / 1500) * Math.exp(0.4 * noise()) + 1e-3, loss: 0.002 + 1.4 * Math.exp(-step / 800), lr: 0.1 });

interface Plan extends Omit<FakeRun, "norm" | "loss" | "lr"> {
  rule: Rule;
}

function plans(): Plan[] {
  const base = { tags: [] as string[], live: false, events: [] as FakeEvent[], layers: GRU, seenSecondsAgo: 0, maxNorm: Infinity };
  const explosion: FakeEvent = { kind: "explosion", severity: "critical", status: "open", start: 2004, end: null, peak: 4.1e12, times: 812, usual: 0.26, layers: ["gru.weight_hh_l0"], message: "the global norm is 812 times its usual 0.26", minutesAgo: 18 };
  const nonFinite: FakeEvent = { kind: "non_finite", severity: "critical", status: "open", start: 2041, end: null, peak: null, times: null, usual: null, layers: ["gru.weight_hh_l0", "gru.weight_ih_l0", "gru.bias_hh_l0"], message: "gradients of gru.weight_hh_l0 are not finite", minutesAgo: 17 };
  const collapse: FakeEvent = { kind: "vanishing", severity: "warning", status: "open", start: 660, end: null, peak: 2e-7, times: null, usual: 0.8, layers: ["layers.0.weight", "layers.1.weight"], message: "layers.0.weight receives less than 1 % of its usual gradient", minutesAgo: 240 };
  const spike: FakeEvent = { kind: "explosion", severity: "warning", status: "resolved", start: 1477, end: 1478, peak: 5.1, times: 14, usual: 0.36, layers: ["blocks.3.mlp.up.weight"], message: "the global norm was 14 times its usual 0.36", minutesAgo: 55 };
  return [
    { ...base, id: uuid(1), project: "gru-adding", name: "gru, unclipped", owner: "ada", tags: ["seed-5"], state: "failed", health: "critical", steps: 2120, seenSecondsAgo: 1020, events: [explosion, nonFinite], rule: gru(true) },
    { ...base, id: uuid(2), project: "gru-adding", name: "gru, clipped", owner: "ada", tags: ["seed-5"], state: "finished", health: "healthy", steps: 5000, seenSecondsAgo: 420, maxNorm: 0.1, rule: gru(false) },
    { ...base, id: uuid(3), project: "lm", name: "transformer 48M, warm-up 400", owner: "grace", tags: ["sweep"], state: "running", health: "healthy", steps: 6200, maxNorm: 1, live: true, layers: TRANSFORMER, events: [spike], rule: transformer },
    { ...base, id: uuid(4), project: "mnist-deep", name: "sigmoid, 20 layers", owner: "sepp", tags: [], state: "running", health: "warning", steps: 1900, seenSecondsAgo: 2, layers: Array.from({ length: 20 }, (_, i) => `layers.${i}.weight`), events: [collapse], rule: vanishing },
    { ...base, id: uuid(5), project: "vision", name: "resnet fine-tune", owner: "fei-fei", tags: ["prod"], state: "running", health: "not_measurable", steps: 3100, seenSecondsAgo: 1, maxNorm: 1, rule: flat },
    { ...base, id: uuid(6), project: "vision", name: "<img src=x onerror=alert(1)> & \u202Enames are only text", owner: "<b>mallory</b>", tags: ["<script>"], state: "unreachable", health: "healthy", steps: 4200, seenSecondsAgo: 7300, maxNorm: 0.5, rule: converging },
    { ...base, id: uuid(7), project: "lm", name: "no frame yet", owner: "grace", state: "running", health: "unknown", steps: 0, seenSecondsAgo: 4, rule: flat },
  ];
}

export function makeRuns(): FakeRun[] {
  return plans().map(({ rule, ...plan }, index) => {
    const run: FakeRun = { ...plan, norm: new Float64Array(200_000), loss: new Float64Array(200_000), lr: new Float64Array(200_000) };
    const noise = gaussian(index + 1);
    run.steps = 0;
    extend(run, plan.steps, rule, noise);
    if (run.live) Object.assign(run, { extend: (count: number) => extend(run, count, rule, noise) });
    return run;
  });
}

/** More steps for a live run. */
export function advance(run: FakeRun, count: number): void {
  (run as FakeRun & { extend?: (count: number) => void }).extend?.(count);
}

function extend(run: FakeRun, count: number, rule: Rule, noise: () => number): void {
  for (let i = 0; i < count && run.steps < run.norm.length; i++) {
    const frame = rule(run.steps, noise);
    run.norm[run.steps] = frame.norm;
    run.loss[run.steps] = frame.loss;
    run.lr[run.steps] = frame.lr;
    run.steps++;
  }
}

function uuid(number: number): string {
  return `018f0000-0000-7000-8000-${String(number).padStart(12, "0")}`;
}

/** Standard normal numbers from a seed: mulberry32 and Box-Muller. */
function gaussian(seed: number): () => number {
  const uniform = (): number => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(uniform() || 1e-12)) * Math.cos(2 * Math.PI * uniform());
}
