"""What a person sees in a browser while real frames arrive at a real service."""

import re

import pytest
from playwright.sync_api import Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import HIDDEN, Training

pytestmark = pytest.mark.chromium

PHONE = (390, 844)
WIDE = (1440, 900)
SOON = 10_000  # milliseconds in which what happened must be on the screen


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


class TestOverview:
    def test_an_empty_service_shows_the_lines_to_paste_and_turns_into_the_first_run(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        page = open_page()
        expect(page.get_by_role("heading", name="Waiting for the first run")).to_be_visible()
        expect(page.get_by_text("run.watch(model, optimizer, max_norm=1.0)")).to_be_visible()
        expect(page.get_by_text("clip_grad_norm_(model.parameters(), 1.0)")).to_be_visible()
        Training(service, "my first run").train(20)
        expect(page.get_by_role("link", name="my first run")).to_be_visible(timeout=SOON)

    def test_an_explosion_appears_while_the_page_is_open(self, open_page: OpenPage, service: ServiceProcess) -> None:
        training = Training(service, "gru, unclipped")
        training.train(300)
        page = open_page(size=WIDE)
        expect(page.get_by_role("heading", name="The run is well")).to_be_visible()
        training.train(30, times=1000.0)
        expect(page.get_by_role("heading", name="1 run needs you")).to_be_visible(timeout=SOON)
        row = page.get_by_role("row", name=re.compile("gru, unclipped"))
        expect(row).to_contain_text("Critical")
        expect(row).to_contain_text("Explosion")
        expect(page.get_by_role("complementary")).to_contain_text("gru, unclipped")

    def test_what_needs_a_person_comes_first(self, open_page: OpenPage, service: ServiceProcess) -> None:
        sick = Training(service, "sick")
        sick.train(300)
        sick.train(30, times=1000.0)
        Training(service, "well").train(300)
        page = open_page()
        links = page.get_by_role("table").get_by_role("link")
        expect(links.nth(0)).to_have_text("sick")
        expect(links.nth(1)).to_have_text("well")

    def test_slash_reaches_the_filter_and_the_address_keeps_it(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        for name in ("alpha", "beta"):
            Training(service, name).train(5)
        page = open_page()
        expect(page.get_by_role("link", name="beta")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("alph")
        expect(page.get_by_role("link", name="beta")).to_have_count(0)
        expect(page).to_have_url(re.compile(r"\?q=alph$"))
        page.reload()
        expect(page.get_by_role("link", name="alpha")).to_be_visible()
        expect(page.get_by_role("link", name="beta")).to_have_count(0)

    def test_a_run_opens_by_keyboard_alone(self, open_page: OpenPage, service: ServiceProcess) -> None:
        training = Training(service, "reachable")
        training.train(5)
        page = open_page()
        expect(page.get_by_role("link", name="reachable")).to_be_visible()
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip() == "reachable":
                break
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(training.path))


class TestRun:
    def test_says_in_words_what_happened_and_goes_on_live(self, open_page: OpenPage, service: ServiceProcess) -> None:
        training = Training(service, "gru, unclipped")
        training.train(300)
        page = open_page(training.path)
        expect(page.get_by_text(re.compile("^Healthy, with a norm of"))).to_be_visible()
        training.train(30, times=1000.0)
        training.break_down(5)
        expect(page.get_by_text(re.compile(r"^Exploded at step 30\d, .*non-finite since step 330"))).to_be_visible(
            timeout=SOON
        )
        expect(page.get_by_role("row", name=re.compile(HIDDEN))).to_contain_text("NaN", timeout=SOON)

    def test_names_the_checkpoint_to_resume_from_as_soon_as_the_newest_is_not_clean(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        training = Training(service, "gru")
        training.train(300)
        training.save(200, 300)
        page = open_page(training.path)
        expect(page.get_by_text("Newest checkpoint, of step 300: /checkpoints/gru/300.pt")).to_be_visible()
        training.break_down(5)
        training.save(301, 305)
        expect(
            page.get_by_text("Resume from step 300: /checkpoints/gru/300.pt (2 later ones are not clean)")
        ).to_be_visible(timeout=SOON)

    def test_live_frames_reach_the_chart_without_reading_the_history_again(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        training = Training(service, "live")
        training.train(100)
        page = open_page(training.path)
        chart = page.get_by_role("img", name=re.compile("^Gradient norm"))
        expect(chart).to_have_attribute("aria-label", re.compile("largest 1.3"))
        readings: list[str] = []
        page.on("request", lambda request: readings.append(request.url) if "/series" in request.url else None)
        training.train(1, times=50.0)
        expect(chart).to_have_attribute("aria-label", re.compile(r"largest [3-6]\d"), timeout=SOON)
        assert readings == []

    def test_dragging_reads_the_range_again_and_a_double_click_shows_the_whole(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        training = Training(service, "zoomed")
        training.train(400)
        page = open_page(training.path)
        chart = page.get_by_role("img", name=re.compile("^Gradient norm"))
        area = chart.locator(".u-over")
        area.hover()  # waits until it stays where it is
        box = area.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        with page.expect_request(re.compile(r"/series\?.*from_step=\d+&to_step=\d+")):
            page.mouse.move(box["x"] + box["width"] * 0.25, middle)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
            page.mouse.up()
        expect(page).to_have_url(re.compile(r"from=(99|100)&to=(199|200|201)"))
        area.dblclick()
        expect(page).to_have_url(re.compile(f"{training.path}$"))

    def test_a_run_that_is_not_there_is_said_to_be_not_there(self, open_page: OpenPage) -> None:
        for path in ("/runs/00000000-0000-4000-8000-000000000000", "/runs/nonsense"):
            expect(open_page(path).get_by_role("heading", name="There is no such run")).to_be_visible()

    def test_an_address_of_no_view_leads_home(self, open_page: OpenPage) -> None:
        page = open_page("/nowhere")
        page.get_by_role("link", name="To the overview").click()
        expect(page.get_by_role("heading", name="Waiting for the first run")).to_be_visible()


def test_two_runs_are_chosen_and_told_apart_at_a_glance(open_page: OpenPage, service: ServiceProcess) -> None:
    unclipped = Training(service, "gru, unclipped")
    unclipped.train(300)
    unclipped.train(30, times=1000.0)
    Training(service, "gru, clipped").train(330, max_norm=0.9)
    page = open_page()
    page.get_by_label("Select gru, unclipped to compare").check()
    page.get_by_label("Select gru, clipped to compare").check()
    page.get_by_role("link", name="Compare", exact=True).click()
    story = r"gru, unclipped exploded at step 30\d; gru, clipped had no event and reached a loss of 0\.\d+"
    expect(page.get_by_text(re.compile(story))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("gru, unclipped: Gradient norm.*gru, clipped"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("First event explosion at step 30. none"))).to_be_visible()


class TestStates:
    def test_a_stranger_is_told_how_to_get_in_and_a_token_opens_the_page(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        page = open_page(login=False)
        expect(page.get_by_role("heading", name="Open the page with its link")).to_be_visible()
        token = page.get_by_label("Or paste a read token")
        token.fill("gv_wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("does not know this token")
        token.fill(service.tokens["read_token"])
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Waiting for the first run")).to_be_visible()

    def test_a_failed_reading_says_why_and_can_be_tried_again(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        page = open_page("/nowhere")
        refusal = {"status": 500, "content_type": "application/json", "body": '{"detail": "the disk is full"}'}
        page.route("**/api/v1/dashboard*", lambda route: route.fulfill(**refusal))
        page.get_by_role("link", name="To the overview").click()
        expect(page.get_by_text("the disk is full")).to_be_visible()
        page.unroute("**/api/v1/dashboard*")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("heading", name="Waiting for the first run")).to_be_visible()


class TestLook:
    def test_nothing_is_wider_than_a_phone(self, open_page: OpenPage, service: ServiceProcess) -> None:
        training = Training(service, "a-run-with-quite-a-long-name-that-has-no-space-in-it-" * 3, tags=["t" * 60])
        training.train(300)
        training.save(100)
        training.train(30, times=1000.0)
        page = open_page(size=PHONE)
        expect(page.get_by_role("heading", name="1 run needs you")).to_be_visible()
        assert overflow(page) <= 0
        page.goto(service.url + training.path)
        expect(page.get_by_text(re.compile("^Exploded at step"))).to_be_visible()
        assert overflow(page) <= 0
        page.goto(f"{service.url}/compare?runs={training.run_id}")
        expect(page.get_by_role("img", name=re.compile("Gradient norm"))).to_be_visible()
        assert overflow(page) <= 0

    def test_dark_follows_the_system_until_the_person_chooses(self, open_page: OpenPage) -> None:
        page = open_page(dark=True)
        expect(page.locator("body")).to_have_css("background-color", "rgb(13, 17, 23)")
        page.get_by_role("button", name="Colours: As the system").click()
        expect(page.locator("body")).to_have_css("background-color", "rgb(245, 246, 248)")
        page.reload()
        expect(page.locator("body")).to_have_css("background-color", "rgb(245, 246, 248)")


def test_the_page_obeys_its_policy_and_asks_nobody_else(
    open_page: OpenPage, service: ServiceProcess, complaints: list[str]
) -> None:
    training = Training(service, "plain")
    training.train(50)
    page = open_page()
    for path in ("/", training.path, f"/compare?runs={training.run_id}", "/login"):
        page.goto(service.url + path)
        page.wait_for_load_state("load")
        expect(page.get_by_role("main")).not_to_be_empty()
    assert complaints == []
