"""How fast is the page, how soon does it show what happens, and what do open pages cost?

The built page in Chromium against a real ``gradvitals-service serve`` on SQLite and loopback; each opening has a fresh
browser profile. Small runs come over the real wire: chunks as the client encodes them, or JSON frames; the long and the
wide run are put into the tables by the writer's own statements and compacted by the service's compactor
(``benchmarks.store``). Name figures to measure only those.
"""

import argparse
import sys

from benchmarks.page.browser import chromium
from benchmarks.page.figures import Row
from benchmarks.page.following import measure_heap, measure_live
from benchmarks.page.many import PAGES, measure_pages
from benchmarks.page.opening import measure_layers, measure_overview, measure_run
from benchmarks.report import report

FIGURES = ("overview", "run", "layers", "live", "heap", "pages")


def main() -> None:
    """Measure what is asked for and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"some of {', '.join(FIGURES)}; all of them")
    parser.add_argument("--runs", type=int, default=10_000, help="of the overview (%(default)s)")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the long run (%(default)s)")
    parser.add_argument("--layers", type=int, default=2_000, help="of the wide run (%(default)s)")
    parser.add_argument("--events", type=int, default=120, help="whose way to the page is timed (%(default)s)")
    parser.add_argument("--updates", type=int, default=36_000, help="while the heap is looked at (%(default)s)")
    parser.add_argument("--pages", type=int, default=PAGES, help="open at once (%(default)s)")
    options = parser.parse_args()
    if unknown := set(options.figures) - set(FIGURES):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    with chromium() as browser:
        measures = {
            "overview": lambda: measure_overview(browser, options.runs),
            "run": lambda: measure_run(browser, options.steps, 200),
            "layers": lambda: measure_layers(browser, options.layers),
            "live": lambda: measure_live(browser, options.events),
            "heap": lambda: measure_heap(browser, options.updates),
            "pages": lambda: measure_pages(browser, options.pages),
        }
        for figure in options.figures or FIGURES:
            print(f"measuring {figure} ...", file=sys.stderr, flush=True)
            for measured in measures[figure]():
                print(measured, file=sys.stderr, flush=True)
                rows.append(measured)
    report("page", "The page in Chromium", rows)


if __name__ == "__main__":
    main()
