"""From the click to the picture: the overview of many runs, a long run and its zoom, a run of many layers."""

from uuid import UUID

from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as NotSeenError

from benchmarks.page.browser import CHART, HEAT_MAP, opened, seen_at, settle
from benchmarks.page.figures import Row, row
from benchmarks.page.runs import WIDE_STEPS, one_run, send_many
from benchmarks.serving import Service, serving

TRIES = 7
ZOOMS = 10
SETTLED_MILLISECONDS = 1_500  # after the last row; a later paint that is larger would still count
SCROLL_STEPS = 60
HEAT_MAP_SECONDS = 20.0

_SCROLL_TO_IT = """
selector => {
  if (!(selector in notes.seen)) document.querySelector("#heat-map")?.scrollIntoView();
  return selector in notes.seen;
}
"""
_SCROLL = """
async ([selector, steps]) => {
  const inside = selector && document.querySelector(selector);
  const boxes = [document.scrollingElement];
  for (let box = inside; box; box = box.parentElement) if (box.scrollHeight > box.clientHeight + 40) boxes.push(box);
  const gaps = [];
  let before = performance.now();
  for (const box of new Set(boxes))
    for (let step = 0; step <= 2 * steps; step++) {
      const part = step <= steps ? step / steps : 2 - step / steps;
      box.scrollTop = part * (box.scrollHeight - box.clientHeight);
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      gaps.push(now - before);
      before = now;
    }
  return gaps;
}
"""


def measure_overview(browser: Browser, runs: int) -> list[Row]:
    """The overview's largest contentful paint."""
    with serving() as service:
        send_many(service, runs)
        service.rest()
        paints = []
        for _ in range(TRIES):
            with opened(browser, service, "/") as page:
                page.wait_for_function("document.querySelectorAll('main [role=row]').length > 10")
                page.wait_for_timeout(SETTLED_MILLISECONDS)
                paints.append(float(page.evaluate("notes.paint")))
    return [row(f"overview with {runs:,} runs: largest contentful paint", "ms", paints, 1000)]


def measure_run(browser: Browser, steps: int, layers: int) -> list[Row]:
    """A long run's first chart, and its zoom from the whole run to single steps."""
    with one_run(steps, layers) as (service, run_id):
        drawn, zooms = [], []
        for _ in range(TRIES):
            with opened(browser, service, f"/runs/{run_id}") as page:
                drawn.append(seen_at(page, CHART))
        with opened(browser, service, f"/runs/{run_id}") as page:
            seen_at(page, CHART)
            settle(page)
            for turn in range(ZOOMS):
                zooms.append(_zoom(page, 0.1 + 0.05 * turn))
                if turn % 5 == 4:
                    page.locator(CHART).locator("xpath=ancestor::*[@role='img']").locator(".u-over").dblclick()
                    page.wait_for_function("!location.search.includes('from=')")
    title = f"run page with {steps:,} steps x {layers} layers"
    return [row(f"{title}: first chart drawn", "ms", drawn, 1000), row(f"{title}: zoom", "ms", zooms, 300, "worst")]


def _zoom(page: Page, start: float) -> float:
    """Drag over a fifth of the chart, each time another; from letting go to the range drawn at its full resolution."""
    box = page.locator('[role="img"][aria-label^="Gradient norm"] .u-over').bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.evaluate(
        "() => { notes.answers = [];"
        " addEventListener('mouseup', () => (notes.letGo = performance.now()), { once: true }) }"
    )
    page.mouse.move(box["x"] + box["width"] * start, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (start + 0.2), middle, steps=4)
    page.mouse.up()
    zoomed = "notes.answers.find(([url]) => url.includes('/series') && url.includes('from_step='))"
    page.wait_for_function(zoomed)
    return float(page.evaluate(f"{zoomed}[1] - notes.letGo"))


def measure_layers(browser: Browser, layers: int) -> list[Row]:
    """A wide run's heat map, and scrolling over it and the whole page."""
    title = f"run page with {layers:,} layers"
    with one_run(WIDE_STEPS, layers) as (service, run_id):
        drawn = []
        for _ in range(TRIES):
            with opened(browser, service, f"/runs/{run_id}") as page:
                try:
                    page.wait_for_function(_SCROLL_TO_IT, arg=HEAT_MAP, timeout=HEAT_MAP_SECONDS * 1e3)
                    drawn.append(seen_at(page, HEAT_MAP))
                except NotSeenError:
                    break  # this page has no heat map, or does not draw it: the row says so
        frames, long = _scroll(browser, service, run_id)
    return [
        row(f"{title}: heat map drawn", "ms", drawn, 1500),
        row(f"{title}: between two frames while scrolling", "ms", frames, 1000, "worst"),
        row(f"{title}: long tasks while scrolling", "ms", long or [0.0], None),
    ]


def _scroll(browser: Browser, service: Service, run_id: UUID) -> tuple[list[float], list[float]]:
    with opened(browser, service, f"/runs/{run_id}") as page:
        seen_at(page, CHART)
        settle(page)
        page.evaluate("notes.long.length = 0")
        frames = [float(gap) for gap in page.evaluate(_SCROLL, [HEAT_MAP, SCROLL_STEPS])]
        return frames, [float(task) for task in page.evaluate("notes.long")]
