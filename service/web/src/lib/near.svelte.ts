/** Whether an element is on the screen, or so near that a scroll may bring it there: only then it is kept up. */

const MARGIN = "400px";

export class Near {
  /** False until the browser has laid it out. */
  yes = $state(false);

  /** For `{@attach near.watch}`. */
  readonly watch = (element: Element): (() => void) => {
    const observer = new IntersectionObserver((entries) => (this.yes = entries.at(-1)?.isIntersecting ?? false), { rootMargin: MARGIN });
    observer.observe(element);
    return () => observer.disconnect();
  };
}
