"""What strangers call their runs, layers, tags and all else is shown as text on every view, and does nothing."""

from typing import Any

import pytest
from playwright.sync_api import Page
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.hostile import COUNT, HOSTILE, in_twelve
from web.training import Training
from web.views import DESKTOP, PHONE, overflow, resize, settle, views, visit

pytestmark = pytest.mark.chromium

# The text of a view, and of the labels that only a screen reader reads, with white space as HTML has it.
TEXT = """() => {
    const labels = [...document.querySelectorAll("[aria-label], [title]")];
    return [document.body.textContent, document.title, ...labels.flatMap((one) => [one.ariaLabel, one.title])]
        .join(" ").replace(/[\\t\\n\\f\\r ]+/g, " ");
}"""
HARM = """() => ({
    hacked: window.hacked, polluted: ({}).hacked,
    scripts: document.querySelectorAll("body script:not([src]), body style, iframe, object, embed, base").length,
    handlers: document.querySelectorAll("[onerror], [onload], [onfocus], [onmouseover], [ontoggle]").length,
    addresses: [...document.querySelectorAll("[href], [src], [action]")]
        .map((one) => one.href?.baseVal ?? one.href ?? one.src ?? one.action).filter((to) => !/^https?:/.test(to)),
})"""
# Scrolls on until the list has so many rows.
ALL_ROWS = """(count) => {
    scrollTo(0, document.body.scrollHeight);
    return document.querySelectorAll("[data-runs] > [role=row]").length === count;
}"""
HARMLESS = {"scripts": 0, "handlers": 0, "addresses": []}


def squeezed(name: str) -> str:
    """A name as a browser shows it."""
    for space in "\t\n\f\r":
        name = name.replace(space, " ")
    return " ".join(part for part in name.split(" ") if part)


def not_shown(page: Page, names: list[str]) -> list[str]:
    """The names that are not on the view as they are."""
    text = page.evaluate(TEXT)
    return [name for name in names if squeezed(name) not in text]


def assert_harmless(page: Page, where: str) -> None:
    """Nothing of what was shown ran, became an element or pushed anything out of its place."""
    found = {name: value for name, value in page.evaluate(HARM).items() if value is not None}
    assert found == HARMLESS, where
    for size in (DESKTOP, PHONE):
        resize(page, size)
        assert overflow(page) <= 0, f"{where} at a width of {size[0]}"
    resize(page, DESKTOP)


@pytest.fixture
def runs(service: ServiceProcess) -> list[Training]:
    """Twelve runs that share the names among them, as names of everything that has one."""
    made = []
    for names in in_twelve():
        first = names[0]
        declared: dict[str, Any] = {"project": first, "owner": names[1], "group": names[2], "tags": names}
        training = Training(
            service,
            first,
            **declared,
            config=dict.fromkeys(names, names[3]),
            links=dict(zip(names, names[::-1], strict=True)),
        )
        layers = dict.fromkeys(names, 0.5)
        for start in (0, 300):
            usual = [1 + 0.3 * (step * 7 % 10) / 10 for step in range(30 if start else 300)]
            frames = [
                {"step": start + step, "global_norm": norm * (1000 if start else 1), "loss": 0.2, "layer_norms": layers}
                for step, norm in enumerate(usual)
            ]
            frames[0]["scalars"] = dict.fromkeys(names, 1.0)
            body = {"project": first, "name": first, "monitor": "main", "frames": frames}
            service.post(f"/api/v1/runs/{training.run_id}/frames", body)
        made.append(training)
    return made


def test_there_are_as_many_names_as_are_promised() -> None:
    assert len(set(HOSTILE)) == COUNT == 200
    assert max(map(len, HOSTILE)) == 512


def test_hostile_names_are_only_text_on_every_view(
    open_page: OpenPage, service: ServiceProcess, runs: list[Training]
) -> None:
    page = open_page()
    settle(page)
    for view, path in views([run.run_id for run in runs]).items():
        visit(page, service, path)
        if view in ("overview", "compare"):
            assert not_shown(page, [run.name for run in runs]) == [], view
        assert_harmless(page, view)
    for run, names in zip(runs, in_twelve(), strict=True):
        visit(page, service, run.path)
        assert squeezed(run.name) in squeezed(page.locator("h1").text_content() or "")
        assert not_shown(page, names) == []
        assert_harmless(page, run.name)


def test_so_are_two_hundred_runs_in_as_many_projects(open_page: OpenPage, service: ServiceProcess) -> None:
    for name in HOSTILE:
        Training(service, name, project=name)
    page = open_page()
    settle(page)
    page.wait_for_function(ALL_ROWS, arg=COUNT)
    assert not_shown(page, HOSTILE) == []
    assert_harmless(page, "all runs")
    visit(page, service, "/?by=project")
    assert not_shown(page, HOSTILE) == []
    assert_harmless(page, "by project")
