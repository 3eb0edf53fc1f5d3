/** What lies along a chart: steps, steps around an event, time since a start, or the time of day. Pure. */
import { formatCount, formatMoment } from "../format";
import { strings } from "../strings";

export interface Along {
  /** Distances between labels, smallest first. */
  increments: number[];
  ticks: (values: readonly number[]) => string[];
  /** A place under the cursor, in words. */
  where: (value: number) => string;
  /** The range that a drag means. */
  snap: (from: number, to: number) => [number, number];
}

const words = strings.compare;
const WHOLE = [1, 2, 5].flatMap((step) => Array.from({ length: 12 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b);
const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];
const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
const TIMES = [...SECONDS, ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE), ...[1, 2, 3, 6, 12].map((n) => n * HOUR), ...[1, 2, 5, 10, 20, 50, 100].map((n) => n * DAY)];

const wholeSteps = (from: number, to: number): [number, number] => [Math.floor(from), Math.max(Math.floor(from) + 1, Math.ceil(to))];
const milliseconds = (from: number, to: number): [number, number] => [Math.floor(from * 1000) / 1000, Math.ceil(to * 1000) / 1000];

export const STEPS: Along = {
  increments: WHOLE,
  ticks: (values) => values.map((value) => formatCount(value)),
  where: strings.charts.step,
  snap: (from, to) => wholeSteps(Math.max(0, from), to),
};

export const AROUND_EVENT: Along = {
  increments: WHOLE,
  ticks: (values) => values.map(signed),
  where: words.stepsFromEvent,
  snap: wholeSteps,
};

export const SINCE_START: Along = {
  increments: TIMES,
  ticks: (values) => values.map(formatSpan),
  where: (value) => words.sinceStart(formatSpan(value)),
  snap: milliseconds,
};

export const TIME_OF_DAY: Along = {
  increments: TIMES,
  ticks: (values) => clockTicks(values),
  where: (value) => formatMoment(value * 1000),
  snap: milliseconds,
};

/** 0.25 s, 45 s, 5 min, 1:30 h, 2 d 6 h: as long as it must be to tell neighbouring labels apart. */
export function formatSpan(seconds: number): string {
  const size = Math.abs(seconds);
  const sign = seconds < 0 ? "−" : "";
  if (size < MINUTE) return `${sign}${Number(size.toFixed(3))} s`;
  if (size < HOUR) {
    const rest = Math.floor(size % MINUTE);
    return `${sign}${Math.floor(size / MINUTE)}${rest === 0 ? "" : `:${pad(rest)}`} min`;
  }
  if (size < DAY) {
    const minutes = Math.floor((size % HOUR) / MINUTE);
    return `${sign}${Math.floor(size / HOUR)}${minutes === 0 ? "" : `:${pad(minutes)}`} h`;
  }
  const hours = Math.floor((size % DAY) / HOUR);
  return `${sign}${Math.floor(size / DAY)} d${hours === 0 ? "" : ` ${hours} h`}`;
}

/** A step before or after another. */
export function signed(value: number): string {
  return value > 0 ? `+${formatCount(value)}` : formatCount(value).replace("-", "−");
}

/** Days where they differ by days, else hours and minutes, with seconds only where they are needed. */
function clockTicks(values: readonly number[]): string[] {
  const distance = (values[1] ?? 0) - (values[0] ?? 0);
  const options: Intl.DateTimeFormatOptions =
    distance >= DAY ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", ...(distance < MINUTE ? { second: "2-digit" } : {}) };
  const format = new Intl.DateTimeFormat(undefined, options);
  return values.map((value) => format.format(value * 1000));
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
