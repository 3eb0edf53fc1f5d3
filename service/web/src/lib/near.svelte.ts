/** Whether an element is on the screen, or so near that a scroll may bring it there: only then it is kept up, and what is
 * farther away is drawn when the first screen has had its time.
 */

const MARGIN = "400px";
const FIRST_SCREEN_MILLISECONDS = 1_000;

export class Near {
  /** False until the browser has laid it out. */
  yes = $state(false);
  /** Whether to draw it: it is near, or was, or nothing else is in a hurry any more. */
  due = $state(false);

  /** For `{@attach near.watch}`. */
  readonly watch = (element: Element): (() => void) => {
    const look = (entries: IntersectionObserverEntry[]): void => {
      this.yes = entries.at(-1)?.isIntersecting ?? false;
      this.due ||= this.yes;
    };
    const observer = new IntersectionObserver(look, { rootMargin: MARGIN });
    observer.observe(element);
    const timer = setTimeout(() => (this.due = true), FIRST_SCREEN_MILLISECONDS);
    return () => (observer.disconnect(), clearTimeout(timer));
  };
}
