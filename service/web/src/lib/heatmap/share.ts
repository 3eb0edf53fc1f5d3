/** What part of the squared global norm a layer has, point by point. Pure. */
import type { MetricColumns } from "../model";

/** Of points that stand for several steps it is that of their means; null where either was not measured. */
export function shares(norm: MetricColumns | undefined, globalNorm: MetricColumns | undefined): (number | null)[] {
  return (norm?.mean ?? []).map((value, index) => {
    const whole = globalNorm?.mean[index] ?? null;
    return value === null || whole === null || whole === 0 ? null : Math.min(1, (value / whole) ** 2);
  });
}
