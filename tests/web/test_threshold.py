"""What a person reads of a broken run, tries with its threshold, and learns of its delivery, in a real browser."""

import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training

pytestmark = pytest.mark.chromium

SOON = 15_000  # milliseconds in which a page that was just opened has read its run
MONITOR = {"optimizer": "SGD", "max_norm": 1.0, "clip_value": None, "norm_type": 2.0}


def slider_of(page: Page) -> Locator:
    """The line over the histogram, where a keyboard and a screen reader find it."""
    return page.get_by_role("slider", name="Clip threshold to try")


def threshold_of(page: Page) -> float:
    """Where the line stands."""
    return float(slider_of(page).get_attribute("aria-valuenow") or "nan")


def value_at(page: Page, place: float) -> float:
    """Which threshold a place of the logarithmic axis is, from 0 at its left end to 1 at its right one."""
    low, high = (float(slider_of(page).get_attribute(f"aria-value{end}") or "nan") for end in ("min", "max"))
    return low * (high / low) ** place


def shown(page: Page) -> list[str]:
    """What the page has counted at the line: steps, share of all, share of the healthy ones, mean coefficient."""
    return page.get_by_role("row", name=re.compile("^The line")).get_by_role("cell").all_inner_texts()


def told(service: ServiceProcess, training: Training, max_norm: float) -> list[str]:
    """What the service counts there, written as the page writes it."""
    advice: dict[str, Any] = service.get(f"/api/v1{training.path}/advice?max_norm={max_norm!r}")
    row = next(row for row in advice["thresholds"] if row["max_norm"] == max_norm)
    assert row["clipped"] == row["clipped_at_most"]
    shares = [percent(row["clip_rate"]), percent(row["healthy_clip_rate"])]
    return [f"{row['clipped']:,}", *shares, f"{row['mean_clip_coefficient']:g}"]


def percent(share: float) -> str:
    """A share of at least a thousandth, as the page writes it."""
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.1 else f"{100 * share:.1f}".removesuffix(".0") + " %"


def test_the_line_is_dragged_by_pointer_and_by_keys_and_agrees_with_the_service(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    training = Training(service, "gru")
    training.train(600, max_norm=1.2)
    training.train(3, times=1000.0, max_norm=1.2)
    page = open_page(training.path)
    expect(page.get_by_role("heading", name=training.name)).to_be_visible()
    page.get_by_role("heading", name="Clip threshold").scroll_into_view_if_needed()
    expect(page.get_by_text("Suggested: max_norm=1.3")).to_be_visible(timeout=SOON)
    assert threshold_of(page) == 1.3
    picture = page.get_by_role("img", name=re.compile("^Histogram of 603 gradient norms")).bounding_box()
    assert picture is not None
    page.mouse.move(picture["x"] + 0.6 * picture["width"], picture["y"] + 100)
    page.mouse.down()
    page.mouse.move(picture["x"] + 0.3 * picture["width"], picture["y"] + 100, steps=3)
    dragged = threshold_of(page)
    assert dragged == pytest.approx(value_at(page, 0.3), rel=0.02)
    assert shown(page) == told(service, training, dragged)  # at once, while it is still held
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"\?max_norm={dragged:g}$"))

    slider_of(page).press("PageUp")
    slider_of(page).press("ArrowLeft")
    moved = threshold_of(page)
    assert 1.9 * dragged < moved < 2 * dragged
    expect(slider_of(page)).to_have_attribute("aria-valuetext", re.compile(rf"^max_norm={moved:g} would have clipped"))
    assert shown(page) == told(service, training, moved)

    page.get_by_label("Try another").fill("0.984")
    assert shown(page) == told(service, training, 0.984)
    expect(page).to_have_url(re.compile(r"\?max_norm=0.984$"))
    page.get_by_label("From step").fill("100")
    page.get_by_label("to", exact=True).fill("200")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile(r"max_norm=0.984.*from=100&to=200"))
    page.reload()
    expect(page.get_by_role("heading", name=training.name)).to_be_visible()
    page.get_by_role("heading", name="Clip threshold").scroll_into_view_if_needed()
    expect(slider_of(page)).to_have_attribute("aria-valuenow", "0.984", timeout=SOON)


def test_a_broken_run_says_what_where_and_what_to_do_and_whether_its_frames_arrived(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    training = Training(service, "gru, unclipped", config={f"option_{number}": number for number in range(20)})
    training.train(300)
    training.save(200)
    training.train(30, times=1000.0)
    training.break_down(5)
    page = open_page(training.path)
    story = page.get_by_text(re.compile(r"^Exploded at step 30\d, .* times its usual norm; .*non-finite"))
    expect(story).to_be_visible(timeout=SOON)
    expect(page.get_by_text("Not measured since; they may be spoiled.")).to_be_visible()
    expect(page.get_by_text(re.compile("if the guess is right"))).to_be_visible()
    expect(page.get_by_text(re.compile("last healthy at step 299$"))).to_be_visible()

    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as on http, off loopback
    page.get_by_role("button", name="Copy the path").press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_focused()
    search = page.get_by_label("Search keys and values")
    search.press("Control+v")
    expect(search).to_have_value("/checkpoints/gru, unclipped/200.pt")
    search.fill("OPTION_19")
    expect(page.get_by_role("region", name="Configuration").get_by_role("definition")).to_have_text(["19"])

    panel = page.get_by_role("region", name="Attempts and delivery")
    expect(panel).to_contain_text("All 335 frames have arrived.")
    launch = str(uuid4())
    for rank in range(4):
        held = {"main": MONITOR | {"made": 312, "spooled": 312, "lost": 0}} if rank == 0 else {}
        training.attempt(rank, world_size=4, launch=launch, overhead=0.004 + 0.003 * rank, monitors=held)
    page.reload()
    expect(panel).to_contain_text("312 frames are on their way.", timeout=SOON)
    rows = panel.get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("above 1 %")
    panel.get_by_role("button", name="4 ranks of attempt 1").press("Enter")
    expect(rows).to_have_count(7)
    expect(panel.get_by_role("row", name="Rank 3 of 4")).to_contain_text("1.3 %")
    expect(rows.nth(6)).to_contain_text("Attempt 2")


def test_an_empty_service_gives_its_lines_away_and_the_newborn_run_says_what_is_not_known_yet(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the lines").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0] == "import gradvitals"
    assert copied[-1].startswith("run.watch(model")

    refusal = {"status": 500, "content_type": "application/json", "body": '{"detail": "the disk is full"}'}
    page.route("**/advice*", lambda route: route.fulfill(**refusal))
    Training(service, "newborn")
    page.get_by_role("link", name="newborn").click()
    panel = page.get_by_role("region", name="Clip threshold")
    expect(panel.get_by_role("alert")).to_contain_text("the disk is full", timeout=SOON)
    page.unroute("**/advice*")
    panel.get_by_role("button", name="Try again").click()
    expect(panel).to_contain_text("There is no suggestion")
    expect(panel).to_contain_text("No step of this run is known yet.")
    expect(page.get_by_text("No step has arrived yet.", exact=True)).to_be_visible()
