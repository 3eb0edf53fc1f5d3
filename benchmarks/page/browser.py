"""The built page in Chromium, logged in at a running service, and what it tells of its own times.

Times are the page's own: milliseconds since its navigation began, taken in the page so that the way to Python does not
count. ``GRADVITALS_CHROMIUM`` names another Chromium than the system's.
"""

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.serving import Service

CHROMIUM = os.environ.get("GRADVITALS_CHROMIUM", "/usr/bin/chromium")
CHART = '[role="img"][aria-label^="Gradient norm"] canvas'
HEAT_MAP = 'section[aria-labelledby="heat-map"] [data-drawn="true"]'

# Each selector's first appearance is noted when the frame that has it is on the screen; then answers and their drawing,
# long tasks, and the largest paint so far.
_NOTES = """
window.notes = { seen: {}, answers: [], long: [], paint: 0, pending: 0, quietSince: 0 };
const wanted = %s;
const look = () => {
  for (const selector of wanted)
    if (!(selector in notes.seen) && document.querySelector(selector))
      requestAnimationFrame(() => (notes.seen[selector] ??= performance.now()));
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
new PerformanceObserver((list) => list.getEntries().forEach((entry) => (notes.paint = entry.startTime)))
  .observe({ type: "largest-contentful-paint", buffered: true });
new PerformanceObserver((list) => list.getEntries().forEach((entry) => notes.long.push(entry.duration)))
  .observe({ type: "longtask", buffered: true });
const plain = window.fetch;
window.fetch = async (input, init) => {
  notes.pending++;
  const answer = await plain(input, init).finally(() => (notes.pending--, (notes.quietSince = performance.now())));
  const json = answer.json.bind(answer);
  answer.json = async () => {
    const body = await json();
    requestAnimationFrame(() => requestAnimationFrame(() => notes.answers.push([String(input), performance.now()])));
    return body;
  };
  return answer;
};
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the block."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, service: Service, path: str) -> Iterator[Page]:
    """A path in a window of its own, logged in, with nothing in its cache; nothing is waited for beyond a minute."""
    # Playwright waits by way of eval(), which the page's policy forbids; the policy itself is tested elsewhere
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    context.set_default_timeout(60_000)
    try:
        context.request.get(login_link(service))  # gets the cookie and loads nothing
        page = context.new_page()
        page.add_init_script(_NOTES % json.dumps([CHART, HEAT_MAP]))
        page.goto(service.url + path, wait_until="commit")
        yield page
    finally:
        context.close()


def login_link(service: Service) -> str:
    """A fresh one-time link."""
    request = urllib.request.Request(f"{service.url}/api/v1/login-codes", data=b"{}", method="POST")
    request.add_header("Authorization", f"Bearer {service.read_token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["url"])


def seen_at(page: Page, selector: str, timeout_seconds: float = 60.0) -> float:
    """When what the selector names was first on the screen, in milliseconds."""
    page.wait_for_function("selector => selector in notes.seen", arg=selector, timeout=timeout_seconds * 1e3)
    return float(page.evaluate("selector => notes.seen[selector]", selector))


def settle(page: Page) -> None:
    """Wait until the page has asked nothing for half a second; Playwright takes a shared worker for an open request."""
    page.wait_for_function("notes.pending === 0 && performance.now() - notes.quietSince > 500")


def heap_mebibytes(cdp: CDPSession) -> float:
    """What the page's scripts hold after the garbage is gone."""
    for _ in range(3):  # weak references take more than one round
        cdp.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = cdp.send("Runtime.getHeapUsage")
    return float(usage["usedSize"]) / 2**20
