/** A chart as a picture to pass on: its title, whose it is, what each colour means, and its lines, twice as sharp as the page. */
import uPlot from "uplot";
import { plotOptions, type PlotSpec } from "./plot";

export interface Picture {
  title: string;
  /** Whose chart it is. */
  subject: string;
  legend: readonly { label: string; color: string; dashed: boolean }[];
  spec: Pick<PlotSpec, "lines" | "axis" | "along" | "height" | "width" | "range" | "overlay" | "columns">;
}

type Color = (token: string) => string;

const DENSITY = 2;
const HEAD = 52;
const FOOT = 8;
const EDGE = 16;
const nothing = (): void => undefined;

export async function pictureOf(picture: Picture, color: Color): Promise<Blob> {
  const plot = await drawnPlot(picture.spec, color);
  const { width, height } = picture.spec;
  const canvas = document.createElement("canvas");
  canvas.width = width * DENSITY;
  canvas.height = (HEAD + height + FOOT) * DENSITY;
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser draws no canvas");
  context.fillStyle = color("--surface");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(plot.ctx.canvas, 0, HEAD * DENSITY, canvas.width, height * DENSITY);
  context.scale(DENSITY, DENSITY);
  drawHead(context, picture, width, color);
  plot.destroy();
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob === null ? reject(new Error("the picture is too large")) : resolve(blob)), "image/png"));
}

/** A plot of its own that is never put into the page. */
function drawnPlot(spec: Picture["spec"], color: Color): Promise<uPlot> {
  const density = DENSITY / devicePixelRatio;
  const options = plotOptions({ ...spec, density, sync: "picture", onCursor: nothing, onZoom: nothing, onReset: nothing }, color);
  delete options.cursor;
  return new Promise((resolve) => {
    options.hooks = { ...options.hooks, ready: [(plot) => queueMicrotask(() => resolve(plot))] };
    new uPlot(options, spec.columns().data, (_plot, begin) => begin());
  });
}

function drawHead(context: CanvasRenderingContext2D, { title, subject, legend }: Picture, width: number, color: Color): void {
  const font = getComputedStyle(document.body).fontFamily;
  const room = width - 2 * EDGE;
  context.textBaseline = "middle";
  context.fillStyle = color("--text");
  context.font = `600 14px ${font}`;
  context.fillText(title, EDGE, 18, room / 2);
  context.textAlign = "right";
  context.fillStyle = color("--text-soft");
  context.font = `12px ${font}`;
  context.fillText(shortened(context, subject, room / 2), width - EDGE, 18);
  context.textAlign = "left";
  let x = EDGE;
  for (const { label, color: token, dashed } of legend) {
    const text = shortened(context, label, room / 3);
    if (x + 20 + context.measureText(text).width > width - EDGE) break;
    context.strokeStyle = color(token);
    context.lineWidth = dashed ? 2 : 4;
    context.setLineDash(dashed ? [4, 3] : []);
    context.beginPath();
    context.moveTo(x, 38);
    context.lineTo(x + 14, 38);
    context.stroke();
    context.fillText(text, x + 20, 38);
    x += 36 + context.measureText(text).width;
  }
}

function shortened(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  const letters = [...text];
  while (letters.length > 1 && context.measureText(`${letters.join("")}…`).width > room) letters.length = Math.floor(letters.length * 0.9);
  return `${letters.join("")}…`;
}
