/** Paint the rows in view on uPlot's canvas: cells from one image, names, marks. Canvas only, no state. */
import type uPlot from "uplot";
import type { EventBand } from "../chart/overlay";
import { ABSENT, NON_FINITE } from "./colours";
import type { HeatColumns } from "./columns";
import { edgesOf, inView, pixelColumns, type Layout } from "./place";
import { gutterLabel, type Row, type RowCells } from "./rows";
import { rank, type Scale } from "./scale";

export interface Picture {
  columns: HeatColumns;
  rows: readonly Row[];
  cells: (row: Row) => RowCells;
  scale: Scale | null;
  layout: Layout;
  scrolled: number;
  lastStep: number | null;
  /** The layer whose series is shown. */
  chosen: string | null;
  events: readonly EventBand[];
  ink: Uint32Array;
  colour: (token: string) => string;
}

const STRIP = 14;
const FONT = '"Inter Variable", system-ui, sans-serif';

export function drawHeatMap(plot: uPlot, picture: Picture, canvas: HTMLCanvasElement): void {
  const { ctx, bbox } = plot;
  const { columns, rows, layout, scrolled } = picture;
  const [low, high] = [plot.scales["x"]?.min, plot.scales["x"]?.max];
  const width = Math.round(bbox.width);
  if (low == null || high == null || width <= 0 || columns.step.length === 0 || rows.length === 0) return;
  const pixels = pixelColumns(edgesOf(columns, picture.lastStep), columns.gaps, [low, high], width);
  const ranks = new Uint16Array(columns.step.length);
  const [from, to] = layout.size === "all" ? [0, Math.min(rows.length, Math.round(bbox.height))] : inView(layout, scrolled);
  const image = new ImageData(width, Math.max(1, to - from));
  const into = new Uint32Array(image.data.buffer);
  const bands: Uint16Array[] = [];
  for (let band = from; band < to; band++) {
    rank(rowsOfBand(picture, band, to).map(picture.cells), picture.scale, ranks);
    bands.push(across(ranks, pixels));
    bands[band - from]?.forEach((shown, x) => (into[(band - from) * width + x] = picture.ink[shown] ?? 0));
  }
  canvas.width = width;
  canvas.height = image.height;
  canvas.getContext("2d")?.putImageData(image, 0, 0);

  ctx.save();
  ctx.beginPath();
  ctx.rect(0, bbox.top, bbox.left + bbox.width, bbox.height);
  ctx.clip();
  ctx.imageSmoothingEnabled = false;
  if (layout.size === "all") ctx.drawImage(canvas, bbox.left, bbox.top, width, bbox.height);
  else bands.forEach((shown, at) => drawRow(plot, picture, from + at, shown, canvas, at));
  for (const event of picture.events) {
    const x = plot.valToPos(event.from, "x", true);
    ctx.fillStyle = picture.colour(event.color);
    ctx.fillRect(x - devicePixelRatio / 2, bbox.top, devicePixelRatio, bbox.height);
  }
  ctx.restore();
}

/** Where rows are lower than a pixel, several share one. */
function rowsOfBand({ rows, layout }: Picture, band: number, bands: number): readonly Row[] {
  if (layout.size !== "all") return rows.slice(band, band + 1);
  return rows.slice(Math.floor((band * rows.length) / bands), Math.max(Math.floor((band * rows.length) / bands) + 1, Math.floor(((band + 1) * rows.length) / bands)));
}

/** What each pixel across shows: the highest rank among its columns. */
function across(ranks: Uint16Array, pixels: Int32Array): Uint16Array {
  const shown = new Uint16Array(pixels.length / 2);
  for (let x = 0; x < shown.length; x++) {
    let most = ABSENT;
    const to = pixels[2 * x + 1] ?? -1;
    for (let at = pixels[2 * x] ?? -1; at >= 0 && at <= to; at++) most = Math.max(most, ranks[at] ?? ABSENT);
    shown[x] = most;
  }
  return shown;
}

function drawRow(plot: uPlot, picture: Picture, index: number, shown: Uint16Array, canvas: HTMLCanvasElement, line: number): void {
  const { ctx, bbox } = plot;
  const { layout, scrolled, colour } = picture;
  const row = picture.rows[index];
  if (row === undefined) return;
  const pixel = devicePixelRatio;
  const top = bbox.top + (index * layout.rowHeight - scrolled) * pixel;
  const named = layout.size === "named";
  const height = (named ? STRIP : layout.rowHeight - 1) * pixel;
  const strip = named ? top + (layout.rowHeight - STRIP - 2) * pixel : top;
  const indent = row.inner ? 10 * pixel : 0;
  ctx.drawImage(canvas, 0, line, shown.length, 1, bbox.left, Math.round(strip), shown.length, Math.round(height));
  strike(ctx, shown, bbox.left, Math.round(strip + height / 2 - pixel), 2 * pixel, colour("--surface"));
  const chosen = row.layers.length === 1 && !row.group && picture.chosen !== null && row.name === picture.chosen;
  ctx.fillStyle = colour(chosen ? "--accent" : row.group ? "--text" : "--text-soft");
  ctx.font = `${chosen || row.group ? 640 : 480} ${(named ? 11 : 10) * pixel}px ${FONT}`;
  ctx.textBaseline = "middle";
  if (named) {
    const name = row.group ? `${row.folded ? "▸" : "▾"} ${row.name}` : row.name;
    ctx.textAlign = "left";
    ctx.fillText(fitted(ctx, name, bbox.width - indent, false), bbox.left + indent, top + 7 * pixel);
  } else {
    ctx.textAlign = "right";
    const label = gutterLabel(picture.rows, index, picture.chosen);
    if (label !== null) ctx.fillText(fitted(ctx, label, bbox.left - 10 * pixel, true), bbox.left - 7 * pixel, strip + height / 2);
  }
  if (chosen) ctx.fillRect(bbox.left - 4 * pixel, strip, 4 * pixel, height);
}

/** A line through norms that are not finite, so that they are seen without their colour. */
function strike(ctx: CanvasRenderingContext2D, shown: Uint16Array, left: number, top: number, height: number, colour: string): void {
  ctx.fillStyle = colour;
  for (let x = 0; x < shown.length; x++) {
    const first = x;
    while (x < shown.length && shown[x] === NON_FINITE) x++;
    if (x > first) ctx.fillRect(left + first, top, x - first, height);
  }
}

/** As much of a name as there is room for. Its end tells layers apart, its beginning modules. */
function fitted(ctx: CanvasRenderingContext2D, name: string, room: number, fromEnd: boolean): string {
  if (ctx.measureText(name).width <= room) return name;
  let [fits, most] = [0, name.length];
  const part = (length: number): string => (fromEnd ? `…${name.slice(name.length - length)}` : `${name.slice(0, length)}…`);
  while (fits < most) {
    const half = Math.ceil((fits + most) / 2);
    if (ctx.measureText(part(half)).width <= room) fits = half;
    else most = half - 1;
  }
  return part(fits);
}
