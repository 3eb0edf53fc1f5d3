/** What a chart draws, told in the words of the page, turned into uPlot's columns and series. */
import type uPlot from "uplot";
import { forLogAxis, logCeiling } from "../ticks";

/** null: nothing was measured there, so the line breaks. undefined: another run's step, so the line goes on. */
export type Column = readonly (number | null | undefined)[];

export interface Line {
  label: string;
  /** A colour token, such as "--chart-norm". */
  color: string;
  /** band: from low to high, so that no spike is lost; line: high alone; dashed: a limit, drawn in steps. */
  style: "band" | "line" | "dashed";
  high: Column;
  low?: Column;
  /** A share of steps, said as a percentage. */
  share?: boolean;
  /** How many non-finite values each point stands for: said where there is no finite one. */
  nonFinite?: readonly number[];
  /** What it is called beside its end, and in a legend of many. */
  short?: string;
  /** The pattern of its strokes. */
  dash?: readonly number[];
  /** Whose it is, where several runs are drawn. */
  owner?: string;
  /** It steps back behind the others. */
  faded?: boolean;
  /** Drawn, but not named in the chart's legend. */
  unlisted?: boolean;
}

export interface Columns {
  data: uPlot.AlignedData;
  /** Indexes where a logarithmic axis has no place for the value, because it is zero. */
  zeros: number[];
  /** Where a logarithmic axis ends at the latest; Infinity on others. */
  ceiling: number;
  /** Lines that leave through the ceiling: at which step first, and how far they went. */
  leaving: { step: number; peak: number; color: string; short?: string }[];
}

const DECADES_ABOVE_USUAL = 6;

export function toColumns(step: readonly number[], lines: readonly Line[], log: boolean): Columns {
  const data: (readonly (number | null | undefined)[])[] = [step];
  const zeros = new Set<number>();
  for (const line of lines) {
    let [high, low] = [line.high, line.low ?? line.high];
    if (log) {
      const fitted = forLogAxis(high, low);
      [high, low] = [fitted.high, fitted.low];
      if (line.style === "band") fitted.zeros.forEach((index) => zeros.add(index));
    }
    data.push(high);
    if (line.style === "band") data.push(low);
  }
  const ceiling = log ? logCeiling(lines.flatMap((line) => (line.style === "dashed" ? [] : line.high)), DECADES_ABOVE_USUAL) : Infinity;
  return { data: data as unknown as uPlot.AlignedData, zeros: [...zeros], ceiling, leaving: leavingLines(step, lines, ceiling) };
}

function leavingLines(step: readonly number[], lines: readonly Line[], ceiling: number): Columns["leaving"] {
  return lines.flatMap(({ high, color, short, faded }) => {
    if (faded) return [];
    const first = high.findIndex((value) => value != null && value > ceiling);
    const peak = high.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
    return first < 0 ? [] : [{ step: step[first] ?? 0, peak, color, ...(short === undefined ? {} : { short }) }];
  });
}

export function toSeries(lines: readonly Line[], color: (token: string) => string, gaps: uPlot.Series.GapsRefiner, density = 1): { series: uPlot.Series[]; bands: uPlot.Band[] } {
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  const points = { size: 4 * density, space: 24 * density };
  for (const line of lines) {
    const stroke = color(line.color);
    const dashes = line.dash?.length ? { dash: line.dash.map((length) => length * density) } : {};
    if (line.style === "dashed") series.push({ stroke, width: 1.25 * density, dash: [5 * density, 4 * density], points: { show: false }, pxAlign: 0, gaps });
    else if (line.style === "line") series.push({ stroke, width: 1.75 * density, ...dashes, points, pxAlign: 0, gaps });
    else {
      const at = series.length;
      series.push({ stroke, width: 1.1 * density, ...dashes, points, pxAlign: 0, gaps }, { stroke: withAlpha(stroke, 0.6), width: 0.9 * density, points: { show: false }, pxAlign: 0, gaps });
      bands.push({ series: [at, at + 1], fill: withAlpha(stroke, 0.3) });
    }
  }
  return { series, bands };
}

const FADED = 0.15;

/** Let lines step back or come forward again; the plot stays. */
export function fade(plot: uPlot, lines: readonly Line[]): void {
  const alphas = lines.flatMap((line) => new Array<number>(line.style === "band" ? 2 : 1).fill(line.faded ? FADED : 1));
  alphas.forEach((alpha, index) => Object.assign(plot.series[index + 1] ?? {}, { alpha }));
}

/** #rrggbb with an alpha. */
export function withAlpha(color: string, alpha: number): string {
  return `${color}${Math.round(alpha * 255)
    .toString(16)
    .padStart(2, "0")}`;
}
