/** Which steps a key or a turn of the wheel shows next. Pure; both ends of a range are included. */

export interface Range {
  from: number;
  to: number;
}

/** "whole": the whole run again; null: nothing changes. */
export type Zoom = Range | "whole" | null;

/** Arrows pan by a quarter, + and − zoom around ``at``, Escape and 0 show the whole. */
export function keyZoom(key: string, shown: Range, whole: Range, at: number | null): Zoom {
  if (key === "ArrowLeft") return pan(shown, whole, -1);
  if (key === "ArrowRight") return pan(shown, whole, 1);
  if (key === "+" || key === "=") return scale(shown, whole, at, 0.5);
  if (key === "-" || key === "_") return scale(shown, whole, at, 2);
  return key === "Escape" || key === "0" ? "whole" : null;
}

/** Make the range ``factor`` times as wide; the step ``at`` stays where it is on the screen. */
export function scale(shown: Range, whole: Range, at: number | null, factor: number): Zoom {
  const width = shown.to - shown.from;
  const wanted = factor < 1 ? Math.max(1, Math.floor(width * factor)) : Math.max(width + 1, Math.ceil(width * factor));
  if (wanted >= whole.to - whole.from) return factor < 1 ? null : "whole";
  if (wanted === width) return null;
  const around = at === null || at < shown.from || at > shown.to ? (shown.from + shown.to) / 2 : at;
  const share = width === 0 ? 0.5 : (around - shown.from) / width;
  return place(Math.round(around - share * wanted), wanted, whole);
}

function pan(shown: Range, whole: Range, direction: 1 | -1): Zoom {
  const width = shown.to - shown.from;
  const moved = place(shown.from + direction * Math.max(1, Math.round(width / 4)), width, whole);
  return moved.from === shown.from ? null : moved;
}

function place(from: number, width: number, whole: Range): Range {
  const first = Math.max(whole.from, Math.min(from, whole.to - width));
  return { from: first, to: first + width };
}
