"""What each view says while it waits, when it fails or is refused, and when there is nothing: never a blank."""

import re

import pytest
from playwright.sync_api import Page, Route, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training
from web.views import settle, views, visit

pytestmark = pytest.mark.chromium

READING = re.compile(r"/api/v1/(?!live)")  # all that a view reads, but for the stream that stays open
ASKING = ("overview", "run", "compare", "inbox")
MOST_SHIFT = 0.1  # what is called good of a cumulative layout shift

NOTHING_IN_SIGHT_WAITS = """() => [...document.querySelectorAll("main .skeleton")].every((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return bottom <= 0 || top >= innerHeight;
})"""
WATCH_SHIFTS = """() => {
    window.shifted = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifted += entry.value)))
        .observe({ type: "layout-shift", buffered: true });
}"""


def of_nobody() -> dict[str, str]:
    """The views that ask the service for something, about runs that nobody needs to have made."""
    found = views(["0199a3c2-7d10-7abc-8def-0123456789ab"])
    return {view: found[view] for view in ASKING}


@pytest.fixture
def asking(service: ServiceProcess) -> dict[str, str]:
    """The views that ask the service for something."""
    trainings = [Training(service, name) for name in ("one", "two")]
    for training in trainings:
        training.train(300)
        training.train(30, times=1000.0)
    found = views([training.run_id for training in trainings])
    return {view: found[view] for view in ASKING}


def answering(page: Page, status: int, detail: str) -> None:
    """From now on the service answers every reading so."""
    body = f'{{"error": "made_up", "detail": "{detail}"}}'
    page.route(READING, lambda route: route.fulfill(status=status, content_type="application/json", body=body))


class Gate:
    """Keeps every reading from being answered until it is lifted."""

    def __init__(self, page: Page) -> None:
        self._waiting: list[Route] = []
        self._lifted = False
        page.route(READING, lambda route: self._meet(route))

    def lift(self) -> None:
        """Let pass what waits, and all that comes."""
        self._lifted = True
        for route in self._waiting:
            route.continue_()

    def _meet(self, route: Route) -> None:
        if self._lifted:
            route.continue_()
        else:
            self._waiting.append(route)


def leave(page: Page, service: ServiceProcess) -> None:
    """To a view that asks for nothing."""
    page.goto(f"{service.url}/nowhere")
    page.unroute_all(behavior="ignoreErrors")


def test_while_it_waits_a_view_says_so_and_what_comes_moves_nothing(
    open_page: OpenPage, service: ServiceProcess, asking: dict[str, str]
) -> None:
    page = open_page("/nowhere")
    shifts = {}
    for view, path in asking.items():
        gate = Gate(page)
        with page.expect_request(READING):
            page.goto(service.url + path, wait_until="commit")
        expect(page.locator("main .skeleton").first).to_be_visible()
        expect(page.locator("main").get_by_text("Loading").first).to_be_attached()
        page.evaluate(WATCH_SHIFTS)
        gate.lift()
        expect(page.locator("main h1")).to_be_visible()
        page.wait_for_function(NOTHING_IN_SIGHT_WAITS)
        shifts[view] = page.evaluate("window.shifted")
        leave(page, service)
    assert {view: shift for view, shift in shifts.items() if shift > MOST_SHIFT} == {}


def test_what_failed_is_said_with_the_reason_and_can_be_tried_again(
    open_page: OpenPage, service: ServiceProcess, asking: dict[str, str]
) -> None:
    page = open_page("/nowhere")
    for path in asking.values():
        answering(page, 503, "the database is away")
        page.goto(service.url + path)
        alert = page.locator("main").get_by_role("alert")
        expect(alert).to_contain_text("the database is away")
        page.unroute_all(behavior="ignoreErrors")
        alert.get_by_role("button", name="Try again").click()
        settle(page)
        expect(alert).to_have_count(0)
        assert page.evaluate("document.activeElement !== document.body"), path


def test_who_may_not_look_is_told_what_to_do(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page("/nowhere")
    for path in of_nobody().values():
        answering(page, 403, "an ingest token may send and not read")
        page.goto(service.url + path)
        expect(page.get_by_role("heading", level=1)).to_have_text("You may not see this")
        expect(page.get_by_text("an ingest token may send and not read")).to_be_visible()
        expect(page.get_by_role("link", name="Log in as somebody else")).to_be_visible()
        page.unroute_all(behavior="ignoreErrors")


def test_who_is_not_known_is_sent_to_where_one_logs_in(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page("/nowhere")
    for path in of_nobody().values():
        answering(page, 401, "log in first")
        page.goto(service.url + path)
        expect(page).to_have_url(f"{service.url}/login")
        expect(page.get_by_role("heading", name="Open the page with its link")).to_be_visible()
        page.unroute_all(behavior="ignoreErrors")


def test_a_run_without_a_step_and_a_comparison_of_nothing_say_what_to_do(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    training = Training(service, "declared")
    page = open_page("/compare")
    expect(page.get_by_text("tick them on the overview and choose Compare")).to_be_visible()
    visit(page, service, training.path)
    expect(page.get_by_text("No step has arrived yet.")).to_be_visible()
