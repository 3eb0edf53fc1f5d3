/** The zoom of a chart by keys and by the wheel with Ctrl, which is what a pinch on a touch pad is. */
import { keyZoom, scale, type Range, type Zoom } from "./zoom";

export interface Controls {
  shown: () => Range;
  whole: () => Range;
  /** The step under the cursor, or under a place on the screen. */
  step: (clientX?: number) => number | null;
  onZoom: (from: number, to: number, how: "push" | "replace") => void;
  onReset: () => void;
}

const WHEEL_FACTOR = 1.25;

/** Makes an element take the focus and the keys. Returns what takes its listeners off again. */
export function zoomControls(element: HTMLElement, controls: Controls): () => void {
  element.tabIndex = 0;
  const apply = (zoom: Zoom, how: "push" | "replace"): void => {
    if (zoom === "whole") controls.onReset();
    else if (zoom !== null) controls.onZoom(zoom.from, zoom.to, how);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = keyZoom(event.key, controls.shown(), controls.whole(), controls.step());
    if (zoom === null) return;
    event.preventDefault();
    event.stopPropagation();
    apply(zoom, event.key.startsWith("Arrow") ? "replace" : "push");
  };
  const turn = (event: WheelEvent): void => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    apply(scale(controls.shown(), controls.whole(), controls.step(event.clientX), event.deltaY > 0 ? WHEEL_FACTOR : 1 / WHEEL_FACTOR), "replace");
  };
  element.addEventListener("keydown", press);
  element.addEventListener("wheel", turn, { passive: false });
  return () => {
    element.removeEventListener("keydown", press);
    element.removeEventListener("wheel", turn);
  };
}
