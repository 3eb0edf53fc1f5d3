"""What a person does about events: finds them in the inbox, acknowledges them, and reads their evidence."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import Training

pytestmark = pytest.mark.chromium

PHONE = (390, 844)
SOON = 10_000  # milliseconds in which what happened must be on the screen


def sick(service: ServiceProcess, name: str) -> Training:
    """A run that goes on exploding, with a clean checkpoint to go back to."""
    training = Training(service, name)
    training.train(300)
    training.save(280)
    training.train(60, times=1000.0)
    return training


def recovered(service: ServiceProcess, name: str) -> Training:
    """A run with one step that was not finite, which is long over."""
    training = Training(service, name)
    training.train(20)
    training.break_down(1)
    training.train(60)
    return training


def events(page: Page) -> Locator:
    return page.get_by_role("list", name="Events, open ones first").locator("> li")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button of that name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"):
            return
    raise AssertionError(f"no button {name!r} can be reached")


class TestTheInbox:
    def test_has_what_goes_on_first_keeps_its_filter_in_the_address_and_leads_to_the_evidence(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        sick(service, "sick")
        recovered(service, "recovered")
        page = open_page()
        page.get_by_role("link", name=re.compile("^Events")).click()
        expect(page.get_by_role("heading", name="1 critical event needs somebody")).to_be_visible()
        expect(events(page)).to_have_count(2)
        expect(events(page).nth(0)).to_contain_text("Explosion")
        expect(events(page).nth(0)).to_contain_text("/checkpoints/sick/280.pt")
        expect(events(page).nth(1)).to_contain_text("Non-finite")
        page.get_by_role("button", name="Over 1").click()
        expect(page).to_have_url(re.compile(r"/events\?status=resolved$"))
        expect(events(page)).to_have_count(1)
        page.reload()
        expect(events(page)).to_have_count(1)
        expect(events(page)).to_contain_text("recovered")
        page.keyboard.press("/")
        page.keyboard.type("nobody")
        page.get_by_role("link", name="Show all events").click()
        expect(events(page)).to_have_count(2)
        page.get_by_role("link", name="Evidence").first.click()
        self.look_at_the_evidence(page)

    def look_at_the_evidence(self, page: Page) -> None:
        """Of the explosion, which names the layer and the checkpoint, has its numbers, and stays in the address."""
        evidence = page.get_by_role("group", name="Evidence")
        norm = re.compile(r"^Gradient norm: .* the alarm was raised at step 30\d")
        expect(evidence.get_by_role("img", name=norm)).to_be_visible()
        expect(evidence).to_contain_text("gru.weight_hh_l0")
        expect(evidence).to_contain_text("/checkpoints/sick/280.pt")
        expect(evidence).to_contain_text(re.compile(r"Last healthy step\s*299"))
        evidence.get_by_text("These numbers as a table").click()
        table = evidence.get_by_role("region", name="The frames around the alarm")
        expect(table.get_by_role("row")).to_have_count(251)
        table.scroll_into_view_if_needed()  # the page, not the table: that begins at the alarm by itself
        expect(table.get_by_role("row", name=re.compile("alarm"))).to_be_in_viewport()
        expect(page).to_have_url(re.compile(r"event=[0-9a-f-]{36}"))
        line = page.get_by_role("button", name=re.compile("^Explosion"))
        expect(line).to_have_attribute("aria-expanded", "true")
        line.press("Enter")
        expect(evidence).to_have_count(0)
        expect(page).not_to_have_url(re.compile("event="))

    def test_takes_a_note_by_keyboard_alone_and_another_open_page_has_it_at_once(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        sick(service, "sick")
        page, other = open_page("/events"), open_page("/events", size=PHONE)
        waiting = other.get_by_role("link", name="1 open critical event that nobody has acknowledged")
        expect(waiting).to_be_visible()
        expect(events(page)).to_have_count(1)
        tab_to(page, "Acknowledge: explosion in sick")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.keyboard.type("a bad <b>shard</b>")
        page.keyboard.press("Enter")
        expect(events(other)).to_contain_text(re.compile("Acknowledged by .+: a bad <b>shard</b>"), timeout=SOON)
        expect(waiting).to_have_count(0, timeout=SOON)
        expect(page.get_by_role("button", name="Take back")).to_be_focused()
        page.keyboard.press("Enter")
        expect(other.get_by_role("button", name="Acknowledge: explosion in sick")).to_be_visible(timeout=SOON)
        assert other.evaluate("document.documentElement.scrollWidth - innerWidth") == 0

    def test_shows_by_itself_what_happens_but_moves_nothing_under_the_mouse(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        page = open_page("/events")
        expect(page.get_by_text("it is here by itself")).to_be_visible()
        sick(service, "first")
        expect(events(page)).to_have_count(1, timeout=SOON)
        events(page).hover()
        sick(service, "second")
        page.get_by_role("button", name="Show 1 new event").click(timeout=SOON)
        expect(events(page).nth(0)).to_contain_text("second")
        for box in page.get_by_role("checkbox").all():
            box.check()
        page.get_by_role("region", name="2 selected").get_by_role("button", name="Acknowledge").click()
        page.keyboard.type("both the same")
        page.keyboard.press("Enter")
        expect(page.get_by_text("both the same")).to_have_count(2)
        expect(page.get_by_role("heading", name="2 open events, nothing critical is waiting")).to_be_visible(
            timeout=SOON
        )
