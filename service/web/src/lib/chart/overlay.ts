/** What is drawn over a chart's axes besides its lines: events, gaps, non-finite steps. Canvas only, no state. */
import type uPlot from "uplot";
import { formatNumber } from "../format";
import { strings } from "../strings";
import { drawLabels, type LineLabel } from "./line-labels";
import { withAlpha, type Columns } from "./lines";

export interface EventBand {
  from: number;
  /** null: it lasts still. */
  to: number | null;
  color: string;
  /** Whose it is, where several runs are drawn. */
  owner?: string;
}

export interface Marks {
  step: readonly number[];
  color: string;
  /** Rows of marks lie under each other at the upper edge: one a run. */
  row: number;
  /** As of an event. */
  owner?: string;
}

/** Where an attempt goes on after another one. */
export interface Seam {
  step: number;
  label: string;
}

export interface Overlay {
  events?: readonly EventBand[];
  gaps?: readonly { from: number; to: number }[];
  nonFinite?: readonly Marks[];
  seams?: readonly Seam[];
  labels?: readonly LineLabel[];
}

type Color = (token: string) => string;

/** Under the lines: where frames are missing, where an event lasted, and where another attempt goes on. */
export function drawBelow(plot: uPlot, overlay: Overlay, color: Color, density?: number): void {
  const { ctx, bbox } = plot;
  const pixel = devicePixelRatio * (density ?? 1);
  clipped(plot, () => {
    for (const gap of overlay.gaps ?? []) {
      const [left, width] = extent(plot, gap.from, gap.to);
      ctx.fillStyle = color("--chart-gap");
      ctx.fillRect(left, bbox.top, Math.max(width, 2 * pixel), bbox.height);
    }
    for (const event of overlay.events ?? []) {
      const [left, width] = extent(plot, event.from, event.to);
      const stroke = color(event.color);
      ctx.fillStyle = withAlpha(stroke, 0.1);
      ctx.fillRect(left, bbox.top, Math.max(width, pixel), bbox.height);
      ctx.fillStyle = stroke;
      ctx.fillRect(left - pixel / 2, bbox.top, 1.5 * pixel, bbox.height);
    }
    drawSeams(plot, overlay.seams ?? [], color, pixel, density !== undefined);
  });
}

/** Over the lines, at the upper edge: steps without a finite value; at the lower edge: zeros on a
 * logarithmic axis; and where a line leaves the chart. */
export function drawAbove(plot: uPlot, overlay: Overlay, { zeros, leaving, ceiling }: Columns, color: Color, density: number): void {
  const { ctx, bbox } = plot;
  const pixel = devicePixelRatio * density;
  clipped(plot, () => {
    for (const marks of overlay.nonFinite ?? []) {
      ctx.fillStyle = color(marks.color);
      const top = bbox.top + (1 + marks.row * 7) * pixel;
      for (const step of marks.step) ctx.fillRect(plot.valToPos(step, "x", true) - pixel, top, 2 * pixel, 5 * pixel);
    }
    ctx.fillStyle = color("--chart-axis");
    for (const index of zeros) {
      const step = plot.data[0]?.[index];
      if (step !== undefined) ctx.fillRect(plot.valToPos(step, "x", true) - pixel, bbox.top + bbox.height - 4 * pixel, 2 * pixel, 4 * pixel);
    }
  });
  for (const event of overlay.events ?? []) drawFlag(plot, event, color, pixel);
  drawLabels(plot, overlay.labels ?? [], ceiling, color, pixel);
  const under = Math.max(0, ...(overlay.nonFinite ?? []).map((marks) => marks.row)) * 7;
  leaving.forEach((line, row) => drawLeaving(plot, line, under + row * 15, color, pixel));
}

/** Beside the place where a line leaves through the upper edge: how far it went. */
function drawLeaving(plot: uPlot, line: Columns["leaving"][number], down: number, color: Color, pixel: number): void {
  const { ctx, bbox } = plot;
  const text = [line.short, strings.charts.leaving(formatNumber(line.peak))].filter((part) => part !== undefined).join(" ");
  const x = plot.valToPos(line.step, "x", true);
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  ctx.save();
  ctx.font = font(600, pixel);
  ctx.textBaseline = "top";
  const room = x - bbox.left > ctx.measureText(text).width + 12 * pixel;
  ctx.textAlign = room ? "right" : "left";
  ctx.fillStyle = color(line.color);
  ctx.fillText(text, x + (room ? -8 : 8) * pixel, bbox.top + (10 + down) * pixel);
  ctx.restore();
}

/** Where lines break: where uPlot found nothing, and where frames are missing, in pixels from left to right. */
export function withGaps(plot: uPlot, overlay: Overlay, broken: uPlot.Series.Gaps): uPlot.Series.Gaps {
  const missing = (overlay.gaps ?? []).map(({ from, to }): [number, number] => [plot.valToPos(from, "x", true), plot.valToPos(to, "x", true)]);
  const merged: [number, number][] = [];
  for (const [from, to] of [...broken, ...missing].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

/** A small flag on top of an event's first step, so that it is seen without its colour. */
function drawFlag(plot: uPlot, event: EventBand, color: Color, pixel: number): void {
  const { ctx, bbox } = plot;
  const x = plot.valToPos(event.from, "x", true);
  if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) return;
  ctx.save();
  ctx.fillStyle = color(event.color);
  ctx.beginPath();
  ctx.moveTo(x - 5 * pixel, bbox.top - 9 * pixel);
  ctx.lineTo(x + 5 * pixel, bbox.top - 9 * pixel);
  ctx.lineTo(x, bbox.top - pixel);
  ctx.fill();
  ctx.restore();
}

/** A dashed line where an attempt begins. On the page a strip above the charts names it; a picture that stands alone does so
 * at the lower edge, where there is room for the name. */
function drawSeams(plot: uPlot, seams: readonly Seam[], color: Color, pixel: number, named: boolean): void {
  const { ctx, bbox } = plot;
  ctx.strokeStyle = ctx.fillStyle = color("--chart-axis");
  ctx.lineWidth = pixel;
  ctx.font = font(400, pixel);
  ctx.textBaseline = "bottom";
  let taken = -Infinity;
  for (const { step, label } of seams) {
    const x = plot.valToPos(step, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.setLineDash([2 * pixel, 3 * pixel]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (!named || x < taken) continue;
    ctx.fillText(label, x + 4 * pixel, bbox.top + bbox.height - 3 * pixel);
    taken = x + ctx.measureText(label).width + 12 * pixel;
  }
  ctx.setLineDash([]);
}

function font(weight: number, pixel: number): string {
  return `${weight} ${11 * pixel}px "Inter Variable", system-ui, sans-serif`;
}

function extent(plot: uPlot, from: number, to: number | null): [left: number, width: number] {
  const left = plot.valToPos(from, "x", true);
  const right = to === null ? plot.bbox.left + plot.bbox.width : plot.valToPos(to, "x", true);
  return [left, right - left];
}

function clipped(plot: uPlot, draw: () => void): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  draw();
  ctx.restore();
}
