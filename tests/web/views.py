"""Every view of the page by its address, so that what must hold for all of them is tested on all of them."""

from collections.abc import Sequence

from playwright.sync_api import Page, expect
from service_process import ServiceProcess

DESKTOP, PHONE = (1280, 900), (390, 844)
SETTLED = 20_000  # milliseconds until nothing is a skeleton any more

# Looks at what waits, since some of it is read only as it comes near.
NOTHING_WAITS = """() => {
    const waiting = document.querySelector("main :is(.skeleton, [aria-busy=true])");
    waiting?.scrollIntoView();
    return waiting === null;
}"""


def views(runs: Sequence[str]) -> dict[str, str]:
    """The address of each view: of the first of these runs, and of all of them beside each other."""
    return {
        "overview": "/",
        "run": f"/runs/{runs[0]}",
        "compare": f"/compare?runs={','.join(runs)}",
        "inbox": "/events",
        "login": "/login",
        "not found": "/nowhere",
    }


def settle(page: Page) -> None:
    """Wait until a view has all it asked for."""
    expect(page.locator("main h1")).to_be_visible(timeout=SETTLED)
    page.wait_for_function(NOTHING_WAITS, timeout=SETTLED)
    page.evaluate("scrollTo(0, 0)")


def visit(page: Page, service: ServiceProcess, path: str) -> None:
    """Open a view and wait for it."""
    page.goto(service.url + path)
    settle(page)


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def resize(page: Page, size: tuple[int, int]) -> None:
    """Another window."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
