/** Numbers and times as people read them. Pure: the clock is always an argument. */

// made once: to make one takes longer than to format a thousand values
const group = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A step, a count: 2,041. */
export function formatCount(value: number | null): string {
  return value === null ? "–" : group.format(value);
}

/** A measured number to three significant digits; powers of ten outside 0.001 to 100,000. */
export function formatNumber(value: number | null): string {
  if (value === null) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return minus(shortExponent(value.toExponential(2)));
  if (size >= 1000) return minus(group.format(value));
  return minus(trimZeros(value.toPrecision(3)));
}

/** A share in [0, 1] as a percentage that never rounds a rare thing to none or a frequent one to all. */
export function formatShare(value: number | null): string {
  if (value === null) return "–";
  if (value > 0 && value < 0.001) return "< 0.1 %";
  if (value < 1 && value > 0.999) return "> 99.9 %";
  const percent = value * 100;
  return `${percent < 10 && percent > 0 ? trimZeros(percent.toFixed(1)) : percent.toFixed(0)} %`;
}

/** How many times its usual something is: 812 or 3.4, 1.2e9 when it left all bounds. */
export function formatTimes(value: number): string {
  if (!Number.isFinite(value)) return "∞";
  if (value >= 1e6) return shortExponent(value.toExponential(1));
  return value >= 10 ? group.format(value) : trimZeros(value.toFixed(1));
}

/** Steps a second, or, of a slow run, a minute or an hour. */
export function formatRate(perSecond: number): string {
  const [rate, unit] = perSecond >= 1 ? [perSecond, "s"] : perSecond >= 1 / 60 ? [perSecond * 60, "min"] : [perSecond * 3600, "h"];
  return `${formatNumber(rate)} / ${unit}`;
}

/** A tick of an axis: 0.01, 1 and 10,000 are short enough; beyond, a power of ten. */
export function formatTick(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return minus(shortExponent(value.toExponential()));
  return minus(size >= 1000 ? group.format(value) : String(Number(value.toPrecision(6))));
}

const UNITS: readonly [seconds: number, name: string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** 12 s, 3 min, 2 h, 5 d. */
export function formatDuration(seconds: number): string {
  const [size, name] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.max(0, Math.floor(seconds / size))} ${name}`;
}

/** An ISO time, or milliseconds since 1970, in the reader's own time zone, to the second. */
export function formatMoment(at: string | number): string {
  return moment.format(new Date(at));
}

/** 14:02:31 in the reader's own time zone. */
export function formatClock(milliseconds: number): string {
  return time.format(milliseconds);
}

function trimZeros(text: string): string {
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

function shortExponent(text: string): string {
  const [mantissa = "", exponent = ""] = text.split("e");
  return `${trimZeros(mantissa)}e${exponent.replace("+", "")}`;
}

function minus(text: string): string {
  return text.startsWith("-") ? `−${text.slice(1)}` : text;
}
