"""Runs over each other: one axis for all, what sets them apart, and what their seeds say."""

import re

import pytest
from playwright.sync_api import Response, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training

pytestmark = pytest.mark.chromium

PHONE = (390, 844)


def seeds(service: ServiceProcess) -> list[Training]:
    """Two trainings from two seeds each: without clipping both explode, with it none."""
    trainings = []
    for seed in (1, 2):
        for kind, config in (("unclipped", {"max_norm": None}), ("clipped", {"max_norm": 0.9})):
            name = f"gru {kind}, seed {seed}"
            training = Training(
                service, name, config={"lr": 0.5, "seed": seed} | config, versions={"torch": f"2.{seed}"}
            )
            training.seconds_a_step = float(seed)
            training.train(290 + 10 * seed, max_norm=config["max_norm"])
            training.train(30, times=1000.0 if kind == "unclipped" else 1.0, max_norm=config["max_norm"])
            trainings.append(training)
    return trainings


def address(*trainings: Training, **look: str) -> str:
    """Of their comparison."""
    chosen = ",".join(training.run_id for training in trainings)
    return f"/compare?runs={chosen}" + "".join(f"&{name}={value}" for name, value in look.items())


def test_seeds_are_told_at_a_glance_and_drawn_as_bands(open_page: OpenPage, service: ServiceProcess) -> None:
    trainings = seeds(service)
    page = open_page(address(*trainings))
    story = page.get_by_role("region", name="What the seeds say").get_by_role("listitem")
    expect(story.nth(0)).to_contain_text(re.compile(r"gru unclipped.*2 of 2 exploded between steps 30\d and 31\d"))
    expect(story.nth(1)).to_contain_text(re.compile(r"gru clipped.*2 of 2 reached a loss of 0\.\d+.*, no event"))
    expect(page.get_by_role("row", name="seed 1 1 2 2")).to_be_visible()
    expect(page.get_by_role("row", name="torch 2.1 2.1 2.2 2.2")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^lr"))).to_have_count(0)
    page.get_by_label("Show also what they have in common").check()
    expect(page.get_by_role("row", name="lr 0.5 0.5 0.5 0.5")).to_be_visible()

    page.get_by_role("button", name="Median and range").click()
    expect(page).to_have_url(re.compile("seeds=band"))
    expect(page.get_by_role("figure").first).to_contain_text("gru clipped")
    page.reload()
    expect(page.get_by_role("button", name="Median and range")).to_have_attribute("aria-pressed", "true")


def test_a_zoom_in_time_reads_every_run_again_and_the_address_keeps_it(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    slow, fast = Training(service, "slow"), Training(service, "fast")
    slow.seconds_a_step, fast.seconds_a_step = 2.0, 1.0
    slow.train(500)
    fast.train(500)
    page = open_page(address(slow, fast))
    page.get_by_role("button", name="Time since start").click()
    expect(page).to_have_url(re.compile("by=elapsed"))
    plot = page.get_by_role("img", name=re.compile("Gradient norm")).bounding_box()
    assert plot is not None

    asked: list[Response] = []
    page.on("response", lambda answer: asked.append(answer) if "from_step" in answer.url else None)
    page.mouse.move(plot["x"] + plot["width"] * 0.3, plot["y"] + 80)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.4, plot["y"] + 80, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"by=elapsed&from=\d+(\.\d+)?&to=\d+"))
    expect(page.get_by_role("button", name="Whole range")).to_be_enabled()
    page.wait_for_function("document.querySelector('.charts[aria-busy=true]') === null")
    first_steps = {answer.url.split("/runs/")[1][:36]: answer.json()["step"][0] for answer in asked}
    assert first_steps[fast.run_id] == pytest.approx(2 * first_steps[slow.run_id], abs=4)  # the same second of both

    page.reload()
    expect(page.get_by_label("From second")).to_have_value(re.compile(r"^2\d\d"))
    page.mouse.move(plot["x"] + plot["width"] / 2, plot["y"] + 80)
    expect(page.get_by_text(re.compile(r"\d min after the first step"))).to_be_visible()


def test_runs_are_taken_out_hidden_and_added_by_name(open_page: OpenPage, service: ServiceProcess) -> None:
    first, second, third = (Training(service, name) for name in ("alpha", "beta", "gamma"))
    for training in (first, second, third):
        training.train(20)
    page = open_page(address(first, second))
    expect(page.get_by_text("No run had an event.")).to_be_visible()
    page.get_by_role("button", name="Draw beta").click()
    expect(page.get_by_role("img", name=re.compile("^alpha: Gradient norm[^.]*$"))).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Draw beta")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Take beta out").click()
    expect(page.get_by_role("button", name="Draw beta")).to_have_count(0)

    field = page.get_by_role("combobox", name="Add a run")
    field.fill("gam")
    expect(page.get_by_role("option")).to_have_count(1)
    field.press("Enter")
    expect(page.get_by_role("button", name="Draw gamma")).to_be_visible()
    assert f"runs={first.run_id},{third.run_id}" in page.url


def test_live_frames_reach_every_run_and_a_lost_one_is_told(open_page: OpenPage, service: ServiceProcess) -> None:
    first, second = Training(service, "first"), Training(service, "second")
    for training in (first, second):
        training.train(20)
    page = open_page(f"{address(first, second)},00000000-0000-4000-8000-000000000000")
    expect(page.get_by_text("1 of the chosen runs could not be found.")).to_be_visible()
    expect(page.get_by_label("to", exact=True)).to_have_value("19")
    second.train(15)
    expect(page.get_by_label("to", exact=True)).to_have_value("34")
    page.get_by_role("button", name="Take them out").click()
    expect(page.get_by_text("could not be found")).to_have_count(0)


def test_a_phone_shows_the_runs_of_a_key_under_each_other(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page(address(*seeds(service), by="event"), size=PHONE)
    expect(
        page.get_by_text(re.compile(r"Without an event, so not drawn here: gru clipped, seed 1, gru"))
    ).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("gru unclipped, seed 2: Gradient norm"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_without_runs_it_says_what_to_do(open_page: OpenPage, service: ServiceProcess) -> None:
    Training(service, "lonely").train(5)
    page = open_page("/compare")
    expect(page.get_by_role("heading", name="No run is chosen")).to_be_visible()
    page.get_by_role("combobox", name="Add a run").click()
    page.get_by_role("option", name=re.compile("lonely")).click()
    expect(page.get_by_text("One run alone.")).to_be_visible()
