/** A few characters beside a line's end, so that it is known without its colour. Canvas only, no state. */
import type uPlot from "uplot";
import type { Column } from "./lines";

export interface LineLabel {
  text: string;
  color: string;
  high: Column;
  owner?: string;
  faded?: boolean;
}

const HEIGHT = 12;
const CHARACTERS_BESIDE = 2;
const FADED = 0.25;

export function drawLabels(plot: uPlot, labels: readonly LineLabel[], ceiling: number, color: (token: string) => string, pixel: number): void {
  const { ctx, bbox } = plot;
  const placed = labels.flatMap((label) => {
    const end = endOf(plot, label.high);
    return end === null || end.value > ceiling ? [] : [{ ...label, ...end }]; // one that leaves says so itself
  });
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width + 22 * pixel, bbox.height);
  ctx.clip();
  ctx.font = `640 ${11 * pixel}px "Inter Variable", system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  for (const { text, color: token, x, y, faded } of apart(placed, HEIGHT * pixel, bbox.top + bbox.height - 6 * pixel)) {
    ctx.globalAlpha = faded ? FADED : 1;
    ctx.fillStyle = color(token);
    const beside = text.length <= CHARACTERS_BESIDE; // longer ones lie over the line's end
    ctx.textAlign = beside ? "left" : "right";
    ctx.fillText(text, x + (beside ? 4 : -2) * pixel, Math.max(bbox.top + 6 * pixel, beside ? y : y - 9 * pixel));
  }
  ctx.restore();
}

/** Where the line is last seen in the range shown. */
function endOf(plot: uPlot, high: Column): { x: number; y: number; value: number } | null {
  const [low, most] = [plot.scales["x"]?.min ?? 0, plot.scales["x"]?.max ?? 0];
  for (let index = high.length - 1; index >= 0; index--) {
    const [place, value] = [plot.data[0]?.[index], high[index]];
    if (place === undefined || place > most || value == null) continue;
    return place < low ? null : { x: plot.valToPos(place, "x", true), y: plot.valToPos(value, "y", true), value };
  }
  return null;
}

/** Labels that would lie over each other are moved down, each under the one before, and up again from the lower edge. */
export function apart<Placed extends { x: number; y: number }>(labels: readonly Placed[], height: number, bottom: number): Placed[] {
  const done = [...labels].sort((a, b) => a.y - b.y).map((label) => ({ ...label }));
  const beside = (a: Placed, b: Placed): boolean => Math.abs(a.x - b.x) < height;
  done.forEach((label, index) => {
    for (const above of done.slice(0, index)) if (beside(above, label)) label.y = Math.max(label.y, above.y + height);
  });
  done.reverse().forEach((label, index) => {
    label.y = Math.min(label.y, bottom);
    for (const below of done.slice(0, index)) if (beside(below, label)) label.y = Math.min(label.y, below.y - height);
  });
  return done;
}
