/** Where a chart's axis begins, ends and carries labels. Pure functions of the data's range. */

const STEPS_OF_A_DECADE = [1, 2, 5];

/** The smallest range of 1-2-5 numbers around positive data, so that a live chart does not rescale at every frame. */
export function logRange(low: number, high: number): [number, number] {
  const from = snapDown(low);
  const to = snapUp(high);
  return from < to ? [from, to] : [snapDown(low / 2), snapUp(high * 2)];
}

/** Labelled ticks of a logarithmic axis: powers of ten, thinned to fit; 1-2-5 where only few decades are shown. */
export function logTicks(low: number, high: number, most = 6): number[] {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const decades = last - first + 1;
  if (decades >= 3 || decades > most) {
    const every = Math.max(1, Math.ceil(decades / most));
    const powers: number[] = [];
    for (let power = Math.ceil(first / every) * every; power <= last; power += every) powers.push(powerOfTen(power));
    return powers;
  }
  const ticks: number[] = [];
  for (let power = first - 1; power <= last; power++) {
    for (const step of STEPS_OF_A_DECADE) {
      const tick = step * powerOfTen(power);
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return ticks.length <= most ? ticks : ticks.filter((tick) => isPowerOfTen(tick));
}

/** Up to where a logarithmic axis shows: ``decades`` above the median. A run that ends at 1e20 would otherwise press all
 * that was before it into a line; what leaves through the upper edge is marked there with how far it went. */
export function logCeiling(values: readonly (number | null | undefined)[], decades: number): number {
  const positive = values.filter((value): value is number => value != null && value > 0).sort((a, b) => a - b);
  const median = positive[positive.length >> 1];
  return median === undefined ? Infinity : median * 10 ** decades;
}

/** Range of a linear axis: a little air above and below, from zero when the data is near it. */
export function linearRange(low: number, high: number): [number, number] {
  if (low === high) return low === 0 ? [0, 1] : [Math.min(0, low * 2), Math.max(0, high * 2)];
  const air = (high - low) * 0.08;
  const from = low >= 0 && low < (high - low) * 0.5 ? 0 : low - air;
  return [from, high + air];
}

/** Column values that a logarithmic axis can draw: what is not positive is lifted to the smallest positive value shown,
 * and the places where even the maximum was zero are told, so that they can be marked at the lower edge. */
export function forLogAxis(
  high: readonly (number | null | undefined)[],
  low: readonly (number | null | undefined)[],
): { high: (number | null | undefined)[]; low: (number | null | undefined)[]; zeros: number[] } {
  const positive = [...high, ...low].filter((value): value is number => value != null && value > 0);
  const floor = positive.reduce((least, value) => Math.min(least, value), Infinity);
  const zeros = high.flatMap((value, index) => (value != null && value <= 0 ? [index] : []));
  return {
    high: high.map((value) => (value != null && value <= 0 ? null : value)),
    low: low.map((value, index) => {
      const top = high[index];
      if (top != null && top <= 0) return null;
      return value != null && value <= 0 ? floor : value;
    }),
    zeros,
  };
}

function snapDown(value: number): number {
  const power = powerOfTen(Math.floor(Math.log10(value)));
  const step = STEPS_OF_A_DECADE.findLast((step) => step * power <= value * (1 + 1e-9)) ?? 1;
  return step * power;
}

function snapUp(value: number): number {
  const power = powerOfTen(Math.floor(Math.log10(value)));
  const step = [...STEPS_OF_A_DECADE, 10].find((step) => step * power >= value * (1 - 1e-9)) ?? 10;
  return step * power;
}

function powerOfTen(power: number): number {
  return Number(`1e${power}`);
}

function isPowerOfTen(value: number): boolean {
  return Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
}
