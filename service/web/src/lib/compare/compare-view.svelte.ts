/** The compared runs: each read once, kept up by live messages, and zoomed together. */
import type { Api } from "../api";
import { firstEvent } from "../describe";
import { live } from "../live.svelte";
import type { LiveMessage } from "../model";
import type { CompareBy } from "../routes";
import { RunView } from "../run-view.svelte";
import { firstTime, placesOf, stepsWithin, type Origin } from "./places";

/** What the table and the axis need of each run, drawn or not. */
const ALWAYS = ["global_norm", "loss", "max_norm", "time"];
const [POINTS_OF_FEW, POINTS_OF_MANY, FEW] = [600, 400, 4];

export class CompareView {
  runs = $state.raw<RunView[]>([]);
  /** The names of what each run logged itself, by its id. */
  scalars = $state.raw<ReadonlyMap<string, readonly string[]>>(new Map());
  readonly #api: Api;
  #metrics: readonly string[] = [];
  #stop: (() => void) | null = null;
  /** What each run was last zoomed to, of which whole: asked again only where one of them has changed. */
  readonly #zoomed = new WeakMap<RunView, { whole: unknown; key: string }>();

  constructor(api: Api) {
    this.#api = api;
  }

  /** Show these runs: those that are shown already stay as they are. */
  choose(ids: readonly string[], metrics: readonly string[]): void {
    const known = new Map(this.runs.map((view) => [view.id, view]));
    const wanted = [...new Set([...ALWAYS, ...metrics])];
    const points = ids.length <= FEW ? POINTS_OF_FEW : POINTS_OF_MANY;
    const added = ids.filter((id) => !known.has(id));
    const gone = this.runs.filter((view) => !ids.includes(view.id));
    const stayed = this.runs.filter((view) => ids.includes(view.id));
    this.runs = ids.map((id) => known.get(id) ?? new RunView(this.#api, id, { scalars: false, metrics: wanted, points }));
    gone.forEach((view) => view.close());
    if (wanted.join() !== this.#metrics.join()) stayed.forEach((view) => void view.want(wanted));
    this.#metrics = wanted;
    if (this.#stop !== null && added.length === 0 && gone.length === 0) return;
    this.#stop?.();
    this.#stop = live.watch(ids, (message) => this.#hear(message));
    for (const view of this.runs) if (added.includes(view.id)) void this.#read(view);
    stayed.forEach((view) => view.hear({ kind: "resync" })); // between two streams something may have been missed
  }

  /** Read again what could not be read. */
  retry(): void {
    for (const view of this.runs) if (view.error !== null) void this.#read(view);
  }

  /** Read a range of the axis at full resolution, of every run; null shows all of them whole. */
  zoom(by: CompareBy, range: readonly [number, number] | null): void {
    for (const view of this.runs) {
      const { whole } = view;
      if (whole === null) continue;
      const steps = range === null ? null : by === "step" ? wholeSteps(range) : stepsWithin(whole, placesOf(whole, by, originOf(view)), ...range);
      const [key, before] = [JSON.stringify(steps), this.#zoomed.get(view)];
      if (before?.whole === whole && before.key === key) continue;
      this.#zoomed.set(view, { whole, key });
      void view.zoom(steps);
    }
  }

  close(): void {
    this.#stop?.();
    this.runs.forEach((view) => view.close());
  }

  #hear(message: LiveMessage): void {
    this.runs.forEach((view) => view.hear(message));
  }

  async #read(view: RunView): Promise<void> {
    await view.load();
    if (view.run === null) return;
    const names = await this.#api.scalars(view.id, null).then(
      (answer) => answer.names,
      () => [], // charts of them are then not offered; the others are there
    );
    this.scalars = new Map([...this.scalars, [view.id, names]]);
  }
}

export function originOf(view: RunView): Origin {
  return { time: view.whole === null ? null : firstTime(view.whole), eventStep: firstEvent(view.events)?.start_step ?? null };
}

function wholeSteps([from, to]: readonly [number, number]): { from: number; to: number } {
  return { from: Math.max(0, Math.floor(from)), to: Math.max(0, Math.ceil(to)) };
}
