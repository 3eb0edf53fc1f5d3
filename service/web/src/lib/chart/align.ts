/** Several runs on one step axis. uPlot wants one x column, so the runs' steps are united. */
import type { Column } from "./lines";

/** The union of the runs' steps, and for each run where its own buckets went. */
export interface Alignment {
  step: number[];

  /** Spread a run's column over the union: undefined where the step is another run's, so that its line goes on. */
  spread: (run: number, column: Column) => Column;
}

export function align(steps: readonly (readonly number[])[]): Alignment {
  const step = [...new Set(steps.flat())].sort((a, b) => a - b);
  const place = new Map(step.map((value, index) => [value, index]));
  return {
    step,
    spread: (run, column) => {
      const spread = new Array<number | null | undefined>(step.length).fill(undefined);
      steps[run]?.forEach((value, index) => (spread[place.get(value) ?? 0] = column[index] ?? null));
      return spread;
    },
  };
}
