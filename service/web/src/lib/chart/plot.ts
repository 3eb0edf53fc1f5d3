/** uPlot's options for a chart over steps. Knows axes, cursor and zoom; not what is measured. */
import type uPlot from "uplot";
import { formatTick } from "../format";
import { linearRange, logRange, logTicks } from "../ticks";
import type { Along } from "./along";
import type { Columns, Line } from "./lines";
import { toSeries } from "./lines";
import { drawAbove, drawBelow, withGaps, type Overlay } from "./overlay";

export type AxisKind = "log" | "linear" | "unit";

export interface PlotSpec {
  lines: readonly Line[];
  axis: AxisKind;
  height: number;
  width: number;
  /** Of a picture that stands alone: how many pixels of the screen a pixel of the page has, to be sharper than it. */
  density?: number;
  along: Along;
  /** Charts with the same key share one cursor. */
  sync: string;
  range: () => [number, number] | null;
  overlay: () => Overlay;
  columns: () => Columns;
  onCursor: (index: number | null) => void;
  onZoom: (from: number, to: number) => void;
  onReset: () => void;
}

/** Between a chart's edges and its axes: what lies above the charts is laid out by them, too. */
export const AXIS_WIDTH = 52;
export const RIGHT_EDGE = 22;
const FONT = '"Inter Variable", system-ui, sans-serif';

export function plotOptions(spec: PlotSpec, color: (token: string) => string): uPlot.Options {
  const { density = 1 } = spec;
  const { series, bands } = toSeries(spec.lines, color, (plot, _series, _from, _to, broken) => withGaps(plot, spec.overlay(), broken), density);
  return {
    width: spec.width * density,
    height: spec.height * density,
    padding: [12 * density, RIGHT_EDGE * density, 0, 0],
    legend: { show: false },
    series,
    bands,
    scales: { x: { time: false, range: (_plot, low, high) => spec.range() ?? [low ?? 0, Math.max(high ?? 1, (low ?? 0) + 1)] }, y: yScale(spec) },
    axes: axes(spec, color, density),
    cursor: {
      y: false,
      points: { size: 6, width: 0 },
      drag: { x: true, y: false, setScale: false, dist: 4 },
      sync: { key: spec.sync, setSeries: false, scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      bind: { dblclick: () => () => (spec.onReset(), null) },
    },
    hooks: {
      drawClear: [(plot) => drawBelow(plot, spec.overlay(), color, spec.density)],
      draw: [(plot) => drawAbove(plot, spec.overlay(), spec.columns(), color, density)],
      setCursor: [(plot) => spec.onCursor(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          if (plot.select.width <= 0) return;
          const from = plot.posToVal(plot.select.left, "x");
          const to = plot.posToVal(plot.select.left + plot.select.width, "x");
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          spec.onZoom(...spec.along.snap(from, to));
        },
      ],
    },
  };
}

function yScale({ axis: kind, columns }: PlotSpec): uPlot.Scale {
  if (kind === "unit") return { range: () => [0, 1.02] };
  if (kind === "linear") return { range: (_plot, low, high) => linearRange(low ?? 0, high ?? 1) };
  return { distr: 3, log: 10, range: (_plot, low, high) => (low > 0 && high > 0 ? logRange(low, Math.max(low, Math.min(high, columns().ceiling))) : [0.1, 1]) };
}

function axes({ axis: kind, along }: PlotSpec, color: (token: string) => string, density: number): uPlot.Axis[] {
  const look = { stroke: color("--chart-axis"), font: `${11 * density}px ${FONT}`, ticks: { show: false }, grid: { stroke: color("--chart-grid"), width: density } };
  const y: uPlot.Axis = { ...look, size: AXIS_WIDTH * density, gap: 6 * density, values: (_plot, ticks) => ticks.map((tick) => formatTick(tick)) };
  if (kind === "unit") y.splits = () => [0, 0.5, 1];
  if (kind === "log") {
    y.splits = (plot, _axis, low, high) => logTicks(low, high, Math.max(2, Math.floor(plot.height / density / 34)));
    // uPlot draws no axis where none of its increments fits, and they end at 1e32; the ticks above need none
    y.incrs = (_plot, _axis, low, high) => [Math.max(5, high - low)];
    y.filter = (_plot, ticks) => ticks;
  }
  const x: uPlot.Axis = { ...look, size: 26 * density, gap: 4 * density, space: 72 * density, incrs: along.increments, values: (_plot, ticks) => along.ticks(ticks) };
  return [x, y];
}
