"""A run's charts in a browser: how one gets from the whole run to a single step, and takes along what one sees."""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.resuming import Resuming
from web.training import Training

pytestmark = pytest.mark.chromium

SOON = 10_000  # milliseconds in which what happened must be on the screen
FORMULA = "=HYPERLINK(1)"


def chart(page: Page, name: str) -> Locator:
    """One chart with everything around it."""
    return page.get_by_role("figure").filter(has=page.get_by_role("heading", name=name, exact=True))


def drag(page: Page, area: Locator, start: float, end: float) -> None:
    """Pull the mouse over a part of a chart, in shares of its width."""
    area.hover()  # waits until it stays where it is
    box = area.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * start, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, middle, steps=4)
    page.mouse.up()


def shown_steps(page: Page) -> tuple[int, int]:
    """The range that the address says."""
    found = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert found is not None
    return int(found[1]), int(found[2])


def download(page: Page, figure: Locator, button: str) -> Path:
    """What a chart's button gives."""
    with page.expect_download() as started:
        figure.get_by_role("button", name=button).click()
    return Path(started.value.path())


@pytest.fixture
def training(service: ServiceProcess) -> Training:
    """4,000 steps, a spike of one step among them, with two scalars of its own."""
    training = Training(service, "gru")
    for _ in range(4):
        training.train(900, accuracy=0.5, **{FORMULA: 7.0})
        training.train(1, times=20.0, accuracy=0.5)
        training.train(99, accuracy=0.5)
    return training


def test_a_drag_then_keys_lead_to_single_steps_and_back_leads_out_again(
    open_page: OpenPage, training: Training
) -> None:
    page = open_page(training.path)
    norm = chart(page, "Gradient norm")
    expect(norm.get_by_role("img")).to_have_attribute("aria-label", re.compile("largest 2[0-6]"))
    with page.expect_response(re.compile(r"/series\?.*from_step=\d+")):
        drag(page, norm.locator(".u-over"), 0.25, 0.5)
    first = shown_steps(page)
    assert first == (pytest.approx(1000, abs=15), pytest.approx(2000, abs=15))
    keys = norm.get_by_role("group", name=re.compile("plus and minus zoom"))
    keys.focus()
    for _ in range(7):
        page.keyboard.press("+")
    low, high = shown_steps(page)
    assert high - low < 10
    norm.get_by_role("button", name="Table").click()
    rows = norm.get_by_role("region", name="Gradient norm as a table").get_by_role("rowheader")
    expect(rows).to_have_text([f"{step:,}" for step in range(low, high + 1)], timeout=SOON)
    keys.focus()
    page.keyboard.press("ArrowRight")
    expect(rows.last).to_have_text(re.compile("^1,[0-9]{3}$"))
    assert shown_steps(page)[0] > low
    page.go_back()
    page.go_back()
    assert shown_steps(page)[1] - shown_steps(page)[0] > high - low
    keys.focus()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(f"{training.path}$"))


def test_a_chart_is_taken_along_as_numbers_and_as_a_picture(open_page: OpenPage, training: Training) -> None:
    page = open_page(training.path)
    figure = chart(page, FORMULA)
    expect(figure).to_be_visible(timeout=SOON)
    figure.hover()
    rows = list(csv.reader(download(page, figure, "CSV").read_text().splitlines()))
    assert rows[0] == ["step", f"'{FORMULA} min", f"'{FORMULA} max", f"'{FORMULA} non-finite"]
    assert rows[1] == ["0", "7", "7", "0"]
    assert len(rows) > 900
    picture = download(page, chart(page, "Gradient norm"), "PNG").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    assert (width > 1000, height) == (True, 580)  # twice as sharp as the page
    chart(page, "Loss").get_by_role("button", name="Table").click()
    link = page.get_by_role("link", name=re.compile("Every frame"))
    expect(link).to_have_attribute("href", f"/api/v1{training.path}/export?metrics=loss")


def test_scalars_have_charts_by_choice_and_the_address_reproduces_the_view(
    open_page: OpenPage, training: Training
) -> None:
    page = open_page(training.path + "?from=900&to=905")
    expect(chart(page, "accuracy")).to_be_visible(timeout=SOON)
    page.get_by_text("Logged scalars, 2 of 2 shown").click()
    page.get_by_role("checkbox", name=FORMULA).uncheck()
    expect(chart(page, FORMULA)).to_have_count(0)
    expect(page).to_have_url(re.compile("from=900&to=905.*scalar=accuracy"))
    again = open_page(page.url.removeprefix(training.service.url))
    expect(chart(again, "accuracy")).to_be_visible(timeout=SOON)
    expect(chart(again, FORMULA)).to_have_count(0)
    expect(again.get_by_label("From step")).to_have_value("900")
    peak = re.compile(r"largest (1[4-9]|2[0-6])")
    expect(chart(again, "Gradient norm").get_by_role("img")).to_have_attribute("aria-label", peak)


def test_resumes_and_lost_frames_are_drawn_and_said(open_page: OpenPage, service: ServiceProcess) -> None:
    run = Resuming(service, "resumed")
    run.attempt(0, 500, lost=(100, 50, "quota"))
    run.attempt(450, 300)
    page = open_page(run.path)
    strip = page.get_by_role("region", name="Attempts and lost frames over the steps")
    resumed = "Attempt 2 resumed at step 450; it replaces steps 450 to 499 of attempt 1"
    expect(strip.get_by_role("listitem").first).to_have_text(resumed)
    lost = "50 frames lost at steps 100 to 149: the client's disk quota was used up"
    expect(strip.get_by_role("listitem").nth(1)).to_have_text(lost)
    expect(strip.get_by_text("attempt 2", exact=True)).to_be_visible()
    expect(strip.get_by_title(lost)).to_be_visible()
