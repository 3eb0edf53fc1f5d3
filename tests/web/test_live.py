"""What stays true while the page is open: one stream a browser, and figures that say how old they are."""

import re
import threading
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training

pytestmark = pytest.mark.chromium

SOON = 10_000  # milliseconds in which what happened must be on the screen
IDLE_SECONDS = 20.0  # the service closes a connection that asks for nothing after 5 s; a stream stays


def connections(service: ServiceProcess) -> int:
    """How many connections the service holds now."""
    assert service.process is not None
    table = Path(f"/proc/{service.process.pid}/net/tcp").read_text()
    lines = (line.split() for line in table.splitlines()[1:])
    return sum(1 for line in lines if line[1].endswith(f":{service.port:04X}") and line[3] == "01")


def streams(service: ServiceProcess) -> int:
    """How many connections are left when those that ask for nothing are closed: the open streams."""
    deadline = time.monotonic() + IDLE_SECONDS
    while connections(service) > 1 and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    return connections(service)


def another_tab(page: Page, url: str) -> Page:
    """A tab in the same browser, so with the same login."""
    tab = page.context.new_page()
    tab.goto(url)
    return tab


def largest(page: Page, norm: str) -> None:
    """The chart knows of a norm of that size."""
    chart = page.get_by_role("img", name=re.compile("^Gradient norm"))
    expect(chart).to_have_attribute("aria-label", re.compile(f"largest {norm}"), timeout=SOON)


def test_tabs_share_one_stream_and_outlive_each_other(open_page: OpenPage, service: ServiceProcess) -> None:
    first_run, second_run = Training(service, "first"), Training(service, "second")
    for training in (first_run, second_run):
        training.train(100)
    first = open_page(first_run.path)
    second = another_tab(first, service.url + second_run.path)
    overview = another_tab(first, service.url)
    expect(overview.get_by_role("heading", name="Both runs are well")).to_be_visible()
    for page in (first, second):
        largest(page, "1.3")
    assert streams(service) == 1
    first_run.train(1, times=10.0)
    second_run.train(1, times=20.0)
    largest(first, "(7|8|9|1[0-3])")
    largest(second, "(1[4-9]|2[0-6])")
    first.close()
    second_run.train(1, times=50.0)
    largest(second, "(3[5-9]|[4-6]\\d)")
    second_run.break_down(2)
    expect(overview.get_by_role("heading", name="1 run needs you")).to_be_visible(timeout=SOON)


def test_a_browser_without_shared_workers_is_live_too(open_page: OpenPage, service: ServiceProcess) -> None:
    training = Training(service, "alone")
    training.train(100)
    page = open_page()
    page.add_init_script("delete window.SharedWorker")
    page.goto(service.url + training.path)
    largest(page, "1.3")
    expect(page.get_by_role("banner").get_by_role("status")).to_have_text("Live")
    training.train(1, times=50.0)
    largest(page, "(3[5-9]|[4-6]\\d)")


def test_a_lost_connection_says_how_old_the_figures_are_and_recovers(
    open_page: OpenPage, service: ServiceProcess
) -> None:
    Training(service, "patient").train(10)
    page = open_page()
    status, alert = page.get_by_role("banner").get_by_role("status"), page.get_by_role("alert")
    expect(status).to_have_text("Live")
    service.stop()
    expect(status).to_contain_text("Not live since", timeout=SOON)
    as_of = re.compile(r"live connection is lost.* What you see is as of \d+:\d\d:\d\d")
    expect(alert).to_contain_text(as_of, timeout=SOON)
    expect(page.get_by_role("paragraph").filter(has=alert)).to_contain_text(re.compile(r"\d+ s ago"), timeout=SOON)
    expect(page.get_by_role("link", name="patient")).to_be_visible()
    service.start()
    expect(status).to_have_text("Live", timeout=2 * SOON)
    expect(alert).to_have_count(0)
    Training(service, "newcomer").train(5)
    expect(page.get_by_role("link", name="newcomer")).to_be_visible(timeout=SOON)


def test_figures_whose_newest_reading_failed_say_how_old_they_are(open_page: OpenPage, service: ServiceProcess) -> None:
    training = Training(service, "stale")
    training.train(300)
    page = open_page()
    expect(page.get_by_role("heading", name="The run is well")).to_be_visible()
    page.route(re.compile("/api/v1/dashboard"), lambda route: route.fulfill(status=503, body="{}"))
    training.train(30, times=1000.0)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(re.compile(r"could not be read\. What you see is as of \d+"), timeout=SOON)
    page.unroute_all()
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_role("heading", name="1 run needs you")).to_be_visible()
    expect(alert).to_have_count(0)
