"""axe-core finds nothing to complain of on any view, light or dark, wide or narrow; and no eye or hand is left out."""

from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage, require
from web.training import Training
from web.views import DESKTOP, PHONE, overflow, resize, settle, views, visit

pytestmark = pytest.mark.chromium

AXE = Path(__file__).parents[2] / "service" / "web" / "node_modules" / "axe-core" / "axe.min.js"
# every rule that is on by default, best practices among them, and the size of what one touches
RUN_AXE = """async () => {
    const found = await axe.run(document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } });
    return found.violations.flatMap((rule) => rule.nodes.map((node) =>
        `${rule.id}: ${node.html.slice(0, 160)} (${node.failureSummary.replace(/\\s+/g, " ").slice(0, 220)})`));
}"""


def complaints_of_axe(page: Page) -> list[str]:
    """What axe says against what is on the screen."""
    require(AXE.exists(), "axe-core is not installed: run `npm ci` in service/web")
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text())
    return [str(complaint) for complaint in page.evaluate(RUN_AXE)]


def complaints_everywhere(page: Page, view: str) -> list[str]:
    """The same in the light and in the dark, on a desk and on a phone."""
    found = []
    for scheme, size in product(("light", "dark"), (DESKTOP, PHONE)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        resize(page, size)
        found += [f"{view}, {scheme}: {complaint}" for complaint in complaints_of_axe(page)]
    return found


@pytest.fixture
def trainings(service: ServiceProcess) -> list[Training]:
    """A run that exploded and broke down, with checkpoints, and one that is well."""
    sick = Training(
        service, "gru, unclipped", tags=["baseline"], config={"lr": 0.5}, links={"w": "https://example.org"}
    )
    sick.train(300)
    sick.save(100, 200)
    sick.train(30, times=1000.0)
    sick.break_down(5)
    well = Training(service, "gru, clipped", group="seeds")
    well.train(330, max_norm=0.9)
    return [sick, well]


def test_axe_finds_nothing_on_any_view(open_page: OpenPage, service: ServiceProcess, trainings: list[Training]) -> None:
    page = open_page()
    found = []
    for view, path in views([training.run_id for training in trainings]).items():
        visit(page, service, path)
        found += complaints_everywhere(page, view)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    found += complaints_everywhere(page, "keys")
    assert "\n".join(found) == ""


def test_axe_finds_nothing_while_there_is_no_run(open_page: OpenPage) -> None:
    page = open_page()
    settle(page)
    assert "\n".join(complaints_everywhere(page, "empty")) == ""


def test_no_view_is_wider_than_a_phone_nor_than_a_window_zoomed_to_twice_its_size(
    open_page: OpenPage, service: ServiceProcess, trainings: list[Training]
) -> None:
    page = open_page(size=PHONE)
    for view, path in views([training.run_id for training in trainings]).items():
        visit(page, service, path)
        assert overflow(page) <= 0, view
        resize(page, (640, 450))  # what is left of a desk at 200 %
        assert overflow(page) <= 0, view
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert overflow(page) <= 0, view
        resize(page, PHONE)


def test_nothing_moves_for_who_wants_no_motion(open_page: OpenPage) -> None:
    page = open_page()
    settle(page)
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().filter((one) => one.playState === 'running').length") == 0
