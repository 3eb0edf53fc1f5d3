"""Runs over each other: one axis for all, what sets them apart, and what their seeds say."""

import re
from typing import Any

import pytest
from playwright.sync_api import Response, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training

pytestmark = pytest.mark.chromium

PHONE = {"width": 390, "height": 844}
NOBODY = "00000000-0000-4000-8000-000000000000"
SOON = 10_000  # milliseconds in which what happened must be on the screen


def train_seeds(service: ServiceProcess) -> list[Training]:
    """Two trainings from two seeds each: without clipping both explode, with it none."""
    trainings = []
    for seed in (1, 2):
        for kind, max_norm in (("unclipped", None), ("clipped", 0.9)):
            config: dict[str, Any] = {"lr": 0.5, "seed": seed, "max_norm": max_norm}
            training = Training(service, f"gru {kind}, seed {seed}", config=config, versions={"torch": f"2.{seed}"})
            training.train(290 + 10 * seed, max_norm=max_norm)
            training.train(30, times=1000.0 if kind == "unclipped" else 1.0, max_norm=max_norm)
            trainings.append(training)
    return trainings


def address(*runs: str, **look: str) -> str:
    """Of the comparison of some runs."""
    return f"/compare?runs={','.join(runs)}" + "".join(f"&{name}={value}" for name, value in look.items())


def test_the_fate_of_seeds_is_told_at_a_glance_on_a_phone_too(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page(address(*(training.run_id for training in train_seeds(service))))
    story = page.get_by_role("region", name="What the seeds say").get_by_role("listitem")
    expect(story.nth(0)).to_contain_text(re.compile(r"gru unclipped.*2 of 2 exploded between steps 30\d and 31\d"))
    expect(story.nth(1)).to_contain_text(re.compile(r"gru clipped.*2 of 2 are at a loss of 0\.\d+.*, no event"))

    expect(page.get_by_role("row", name="seed 1 1 2 2")).to_be_visible()
    expect(page.get_by_role("row", name="torch 2.1 2.1 2.2 2.2")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^lr"))).to_have_count(0)
    page.get_by_label("Show also what they have in common").check()
    expect(page.get_by_role("row", name="lr 0.5 0.5 0.5 0.5")).to_be_visible()

    page.get_by_role("button", name="Median and range").click()
    page.get_by_role("button", name="Steps around the first event").click()
    expect(page.get_by_role("figure").first).to_contain_text("gru unclipped")
    expect(page.get_by_text("Without an event, so not drawn here: gru clipped, seed 1, gru clipped,")).to_be_visible()
    page.set_viewport_size(PHONE)
    page.reload()
    expect(page.get_by_role("button", name="Median and range")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("img", name=re.compile("gru unclipped, seed 2: Gradient norm"))).to_be_visible()
    expect(page.get_by_label("Show also what they have in common")).to_be_checked()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_zoom_in_time_reads_the_same_seconds_of_every_run(open_page: OpenPage, service: ServiceProcess) -> None:
    slow, fast = Training(service, "slow"), Training(service, "fast")
    slow.seconds_a_step, fast.seconds_a_step = 2.0, 1.0
    slow.train(500)
    fast.train(500)
    page = open_page(address(slow.run_id, fast.run_id))
    page.get_by_role("button", name="Time since start").click()
    chart = page.get_by_role("img", name=re.compile("Gradient norm"))
    plot = chart.bounding_box()
    assert plot is not None

    def zoomed(training: Training) -> Any:
        return lambda answer: training.run_id in answer.url and "from_step" in answer.url

    def first_step(answer: Response) -> int:
        return int(answer.json()["step"][0])

    with page.expect_response(zoomed(slow)) as of_slow, page.expect_response(zoomed(fast)) as of_fast:
        page.mouse.move(plot["x"] + plot["width"] * 0.3, plot["y"] + 80)
        page.mouse.down()
        page.mouse.move(plot["x"] + plot["width"] * 0.4, plot["y"] + 80, steps=4)
        page.mouse.up()
    assert first_step(of_fast.value) == pytest.approx(2 * first_step(of_slow.value), abs=4)
    assert first_step(of_slow.value) > 0
    expect(page).to_have_url(re.compile(r"by=elapsed&from=2\d\d(\.\d+)?&to=\d+"))

    page.reload()
    expect(page.get_by_label("From second")).to_have_value(re.compile(r"^2\d\d"))
    chart.hover()
    expect(page.get_by_text(re.compile(r"^\d:\d\d min after the first step$"))).to_be_visible()
    figures = page.get_by_role("figure").first.get_by_role("listitem")
    expect(figures).to_have_text([re.compile(r"slow [01]\.\d+"), re.compile(r"fast [01]\.\d+")])


def test_runs_come_and_go_and_keep_up(open_page: OpenPage, service: ServiceProcess) -> None:
    alpha, beta, gamma = (Training(service, name) for name in ("alpha", "beta", "gamma"))
    for training in (alpha, beta, gamma):
        training.train(20)
    page = open_page("/compare")
    expect(page.get_by_role("heading", name="No run is chosen")).to_be_visible()
    page.get_by_role("combobox", name="Add a run").click()
    page.get_by_role("option", name=re.compile("alpha")).click()
    expect(page.get_by_text("One run alone.")).to_be_visible()

    page.goto(service.url + address(alpha.run_id, beta.run_id, NOBODY))
    expect(page.get_by_text("1 of the chosen runs could not be found.")).to_be_visible()
    page.get_by_role("button", name="Take them out").click()
    expect(page.get_by_text("could not be found")).to_have_count(0)
    page.get_by_role("button", name="2 beta").click()
    expect(page.get_by_role("img", name=re.compile("^alpha: Gradient norm((?!beta).)*$"))).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="2 beta")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Take beta out").click()
    expect(page.get_by_role("button", name="2 beta")).to_have_count(0)

    field = page.get_by_role("combobox", name="Add a run")
    field.fill("gam")
    expect(page.get_by_role("option")).to_have_count(1)
    field.press("Enter")
    expect(page.get_by_role("button", name="2 gamma")).to_be_visible()
    expect(page).to_have_url(re.compile(f"runs={alpha.run_id},{gamma.run_id}$"))
    expect(page.get_by_label("to", exact=True)).to_have_value("19")
    gamma.train(15)
    expect(page.get_by_label("to", exact=True)).to_have_value("34", timeout=SOON)
