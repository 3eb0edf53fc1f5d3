"""The overview of a team in a browser: whose runs, which, in what groups, page by page, live."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training

pytestmark = pytest.mark.chromium

PHONE = (390, 844)
YOUNG_MILLISECONDS = 3_000  # a service so young cannot tell what happened before a page opened, which reads again
SOON = 10_000  # milliseconds in which what happened must be on the screen


def row(page: Page, name: str) -> Locator:
    """The row of one run."""
    return page.get_by_role("row", name=re.compile(name))


def run_names(page: Page) -> list[str]:
    """The runs on the screen, in order."""
    return page.locator("[data-runs] a").all_inner_texts()


@pytest.fixture
def team(service: ServiceProcess) -> ServiceProcess:
    """Three runs of two people in two projects; the viewer has one of them."""
    viewer = service.get("/api/v1/dashboard")["viewer"]
    Training(service, "gru", project="lm", owner="ada", tags=["prod"]).train(5)
    Training(service, "mlp", project="lm", owner=viewer).train(5)
    sick = Training(service, "unet", project="vision", owner="ada", tags=["prod", "night"])
    sick.train(300)
    sick.break_down(2)
    return service


def test_filters_are_kept_in_the_address_and_go_with_their_chip_and_on_a_phone_are_behind_one_button(
    open_page: OpenPage, team: ServiceProcess
) -> None:
    page = open_page()
    page.get_by_role("combobox", name="Tag").select_option("prod (2)")
    expect(page.get_by_role("link", name="mlp")).to_have_count(0)
    page.get_by_role("combobox", name="Project").select_option("vision (1)")
    expect(page.get_by_role("link", name="gru")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?project=vision&tag=prod$"))
    page.reload()
    expect(page.get_by_role("link", name="unet")).to_be_visible()
    assert run_names(page) == ["unet"]
    page.get_by_role("button", name="Remove the filter Project: vision").click()
    expect(page.get_by_role("link", name="gru")).to_be_visible()
    page.get_by_role("button", name="Mine").click()
    expect(page.get_by_text("No run matches this filter.")).to_be_visible()
    page.get_by_role("button", name="Remove the filter Tag: prod").click()
    expect(page.get_by_role("link", name="mlp")).to_be_visible()
    assert run_names(page) == ["mlp"]

    phone = open_page(size=PHONE)
    expect(phone.get_by_role("link", name="unet")).to_be_visible()
    expect(phone.get_by_role("combobox", name="Owner")).to_be_hidden()
    phone.get_by_role("button", name="Filters").click()
    phone.get_by_role("combobox", name="Owner").select_option("ada (2)")
    expect(phone.get_by_role("link", name="mlp")).to_have_count(0)
    expect(phone.get_by_role("button", name="Filters (1)")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_groups_show_the_sick_one_first_and_a_saved_view_of_them_opens_by_itself(
    open_page: OpenPage, team: ServiceProcess
) -> None:
    page = open_page()
    page.get_by_role("combobox", name="Group by").select_option("By project")
    sections = page.get_by_role("heading", level=2).get_by_role("button")
    expect(sections).to_have_text([re.compile("^ *vision"), re.compile("^ *lm")])
    expect(page.get_by_role("link", name="unet")).to_be_visible()
    expect(page.get_by_role("link", name="gru")).to_have_count(0)
    sections.nth(1).click()
    expect(page.get_by_role("link", name="gru")).to_be_visible()
    Training(team, "newcomer", project="lm").train(5)
    expect(page.get_by_role("link", name="newcomer")).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="Save as my default").click()
    expect(page.get_by_text("This is your default")).to_be_visible()
    page.goto(team.url)
    expect(page).to_have_url(re.compile(r"\?by=project$"))
    expect(sections).to_have_count(2)
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("link", name="mlp")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="mlp")).to_be_visible()


def test_a_row_tells_how_fast_its_run_steps_and_since_when_it_hangs(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    """A service that hears of a hung run must have been running for a quarter of an hour: its answer is changed."""
    steady = Training(service, "steady")
    steady.seconds_a_step = 0.5
    steady.train(5)
    Training(service, "stuck").train(5)
    page = open_page("/nowhere")
    page.route("**/api/v1/dashboard?*", lambda route: route.fulfill(json=with_hung_run(route.fetch().json())))
    page.get_by_role("link", name="To the overview").click()
    expect(row(page, "steady")).to_contain_text("2 / s")
    expect(row(page, "steady")).to_contain_text("Running")
    expect(row(page, "stuck")).to_contain_text("Hung")
    expect(row(page, "stuck")).to_contain_text("no step for 22 min")


def test_further_pages_come_as_one_scrolls_and_stay_when_the_list_is_read_again(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    trainings = [Training(service, f"run {number}") for number in range(25)]
    page = open_page()
    links = page.locator("[data-runs] a")
    expect(links).to_have_count(20)
    page.mouse.wheel(0, 20_000)
    expect(links).to_have_count(25)
    trainings[0].train(300)
    trainings[0].break_down(1)
    expect(page.get_by_role("heading", name="1 run needs you")).to_be_visible(timeout=SOON)
    expect(links.first).to_have_text("run 0", timeout=SOON)
    expect(links).to_have_count(25)


def test_the_runs_are_asked_for_once_early_or_not(open_page: OpenPage, service: ServiceProcess) -> None:
    Training(service, "gru").train(5)
    page = open_page("/nowhere")
    page.wait_for_timeout(YOUNG_MILLISECONDS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/v1/dashboard?" in request.url else None)
    for path, questions in (("/", 1), ("/?project=gru-adding", 1)):
        with page.expect_response("**/facets*"):  # asked for after the runs
            page.goto(service.url + path)
        expect(page.get_by_role("link", name="gru")).to_be_visible()
        assert len(asked) == questions, asked
        asked.clear()


def with_hung_run(answer: dict[str, Any]) -> dict[str, Any]:
    """The overview's answer, in which the step of one run has been waited for since 22 minutes ago."""
    since = datetime.now(UTC) - timedelta(minutes=22, seconds=10)
    for run in answer["runs"]:
        if run["name"] == "stuck":
            run |= {"state": "hung", "step_rate": None, "waiting_since": since.isoformat()}
    return answer
