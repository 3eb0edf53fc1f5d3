/** What the comparison view says and draws of its runs: their looks, their groups of seeds, their places. Pure. */
import type { Compared } from "../chart/compare-charts";
import { firstEvent } from "../describe";
import type { Event, RunDetail } from "../model";
import type { CompareBy } from "../routes";
import type { SeriesBuffer } from "../series";
import { looksOf, type Look } from "./looks";
import { hasEstimatedTimes, placeOfStep, placesOf, type Origin } from "./places";
import { groupOfEach, type SeedGroup } from "./seeds";
import { fateOf, finalLoss, type Fate } from "./story";

export interface Told {
  id: string;
  name: string;
  /** Its number in the comparison. */
  short: string;
  look: Look;
  run: RunDetail;
  events: readonly Event[];
  whole: SeriesBuffer | null;
  series: SeriesBuffer | null;
  origin: Origin;
  group: { label: string; color: string } | null;
}

/** ``groups`` are those of ``seedGroups`` over the same runs. */
export function tell(runs: readonly Pick<Told, "id" | "run" | "events" | "whole" | "series" | "origin">[], groups: readonly SeedGroup[]): Told[] {
  const each = groupOfEach(runs.length, groups);
  const looks = looksOf(each);
  return runs.map((run, index) => {
    const look = looks[index] ?? { color: "--text", dash: [] };
    const group = groups[each[index] ?? -1];
    return { ...run, name: run.run.name, short: String(index + 1), look, group: group === undefined ? null : { label: group.label, color: look.color } };
  });
}

/** The fate of each group of seeds and of each run beside them, in the order in which they come. */
export function fates(told: readonly Told[]): { label: string; color: string; fate: Fate; seeds: number | null }[] {
  const lines = new Map<string, Told[]>();
  for (const run of told) {
    const key = run.group === null ? `run ${run.id}` : `group ${run.group.label}`;
    lines.set(key, [...(lines.get(key) ?? []), run]);
  }
  return [...lines.values()].map((members) => {
    const [first] = members;
    const fate = fateOf(members.map(({ events, run, whole }) => ({ events, state: run.state, loss: whole === null ? null : finalLoss(whole) })));
    return { label: first?.group?.label ?? first?.name ?? "", color: first?.look.color ?? "", fate, seeds: first?.group ? members.length : null };
  });
}

/** What is drawn of the runs along an axis, and who cannot be drawn on it or only with times in between. */
export function drawn(told: readonly Told[], by: CompareBy, asBands: boolean): { compared: Compared[]; nowhere: Told[]; estimated: Told[] } {
  const [compared, nowhere, estimated]: [Compared[], Told[], Told[]] = [[], [], []];
  for (const run of told) {
    if (run.series === null || run.whole === null) continue;
    const places = placesOf(run.series, by, run.origin);
    if (run.series.step.length > 0 && places.every((place) => place === null)) {
      nowhere.push(run);
      continue;
    }
    if ((by === "time" || by === "elapsed") && hasEstimatedTimes(run.series)) estimated.push(run);
    const first = firstEvent(run.events);
    const event = first === null ? null : by === "step" ? first.start_step : placeOfStep(run.series.step, places, first.start_step);
    compared.push({ id: run.id, name: run.name, short: run.short, look: run.look, series: run.series, places, event, group: asBands ? run.group : null });
  }
  return { compared, nowhere, estimated };
}

/** What all runs of some have logged, in the order of the first. */
export function commonScalars(scalars: ReadonlyMap<string, readonly string[]>, ids: readonly string[]): string[] {
  const [first = [], ...others] = ids.map((id) => scalars.get(id) ?? []);
  return first.filter((name) => others.every((names) => names.includes(name)));
}
