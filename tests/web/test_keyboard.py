"""The page by keyboard alone: its keys, what they leave alone, and where the focus goes."""

import re

import pytest
from playwright.sync_api import Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training
from web.views import settle

pytestmark = pytest.mark.chromium


def focused(page: Page) -> str:
    """The text of what has the focus."""
    return str(page.evaluate("document.activeElement.textContent")).strip()


def has_outline(page: Page) -> bool:
    """Whether one sees where the focus is."""
    ringed = "[null, '::after'].some((part) => getComputedStyle(document.activeElement, part).outlineStyle !== 'none')"
    return bool(page.evaluate(ringed))


def test_the_keys_lead_through_the_runs_and_into_one_and_back(open_page: OpenPage, service: ServiceProcess) -> None:
    for name in ("first", "second"):
        Training(service, name).train(5)
    page = open_page()
    settle(page)
    links = page.locator("[data-runs] a[href^='/runs/']").filter(has_text=re.compile("^(first|second)$"))
    order = links.all_inner_texts()
    for key, expected in (("j", order[0]), ("j", order[1]), ("j", order[1]), ("k", order[0])):
        page.keyboard.press(key)
        assert focused(page) == expected
        assert has_outline(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(order[0])
    assert page.evaluate("document.activeElement.id") == "content"
    expect(page.locator("[aria-live=polite]").get_by_text("Run", exact=True)).to_be_attached()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page).to_have_url(f"{service.url}/")
    settle(page)
    page.keyboard.press("/")
    page.keyboard.type("second? gr jk")  # in a field these are letters
    expect(page.get_by_role("searchbox")).to_have_value("second? gr jk")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_question_mark_tells_the_keys_and_escape_gives_the_focus_back(open_page: OpenPage) -> None:
    page = open_page("/nowhere")
    home = page.get_by_role("link", name="To the overview")
    home.focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Next run of the list")
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(home).to_be_focused()
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Keys")).to_be_focused()


def test_the_first_stop_leads_past_the_header(open_page: OpenPage) -> None:
    page = open_page("/nowhere")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the overview")).to_be_focused()
