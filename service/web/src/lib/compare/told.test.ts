import { describe, expect, test } from "vitest";
import type { Event, MetricColumns, RunDetail, SeriesAnswer } from "../model";
import { SeriesBuffer } from "../series";
import { firstTime } from "./places";
import { seedGroups } from "./seeds";
import { commonScalars, drawn, fates, tell, type Told } from "./told";

const columns = (values: (number | null)[]): MetricColumns => ({ min: values, max: values, mean: values, non_finite: values.map(() => 0) });
const explosion = { kind: "explosion", severity: "critical", status: "open", start_step: 10 } as Event;

function run(name: string, seed: number | null, events: Event[] = [], time: (number | null)[] = [100, 110, 120]): Omit<Told, "name" | "short" | "look" | "group"> {
  const answer: SeriesAnswer = { run_id: name, monitor: "main", rank: 0, frames: 3, bucket: 1, step: [0, 10, 20], series: { time: columns(time), loss: columns([3, 2, 1]) }, gaps: [], attempts: [], last_step: 20 };
  const series = new SeriesBuffer(answer);
  const detail = { name, project: "p", group: null, tags: [], config: seed === null ? {} : { seed }, max_norm: name.startsWith("clipped") ? 0.1 : null, state: "finished" } as unknown as RunDetail;
  return { id: name, run: detail, events, whole: series, series, origin: { time: firstTime(series), eventStep: events[0]?.start_step ?? null } };
}

const told = (runs: ReturnType<typeof run>[]): Told[] => tell(runs, seedGroups(runs.map(({ run }) => run)));

describe("what a comparison tells", () => {
  const runs = told([run("clipped, seed 1", 1), run("free, seed 1", 1, [explosion]), run("clipped, seed 2", 2), run("another", null)]);

  test("every run has a number, and the colour of its group", () => {
    expect(runs.map(({ short, look }) => [short, look.color])).toEqual([["1", "--run-1"], ["2", "--run-2"], ["3", "--run-1"], ["4", "--run-3"]]);
  });

  test("groups of seeds and the runs beside them fare each their way", () => {
    expect(fates(runs).map(({ label, seeds, fate }) => [label, seeds, fate.parts])).toEqual([
      ["clipped", 2, ["2 of 2 reached a loss of 2, no event"]],
      ["free, seed 1", null, ["exploded at step 10"]],
      ["another", null, ["reached a loss of 2, no event"]],
    ]);
  });

  test("on steps all are drawn, around an event only those that have one", () => {
    expect(drawn(runs, "step", false).compared.map(({ event }) => event)).toEqual([null, 10, null, null]);
    const around = drawn(runs, "event", false);
    expect([around.compared.map(({ places }) => places), around.nowhere.length]).toEqual([[[-10, 0, 10]], 3]);
  });

  test("in time an event lies at its moment, and who lacks times is told", () => {
    const [known, half, none] = told([run("a", 1, [explosion]), run("b", 2, [], [100, null, 120]), run("c", 3, [], [null, null, null])]);
    const { compared, estimated, nowhere } = drawn([known!, half!, none!], "elapsed", false);
    expect(compared.map(({ places, event }) => [places, event])).toEqual([[[0, 10, 20], 10], [[0, 10, 20], null]]);
    expect([estimated, nowhere]).toEqual([[half], [none]]);
  });

  test("only what all runs logged is offered", () => {
    const scalars = new Map([["a", ["accuracy", "lag"]], ["b", ["lag", "accuracy", "depth"]]]);
    expect([commonScalars(scalars, ["a", "b"]), commonScalars(scalars, ["a", "c"])]).toEqual([["accuracy", "lag"], []]);
  });
});
