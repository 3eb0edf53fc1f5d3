"""What a person sees of a run's layers: the heat map, a layer's series and the table."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect
from service_process import ServiceProcess
from web.conftest import OpenPage
from web.training import HEAD, HIDDEN, Training

pytestmark = pytest.mark.chromium

SOON = 10_000  # milliseconds in which what happened must be on the screen
FIRST_ROW, SECOND_ROW = 34, 64  # heights within the map of two named rows


def heat_map(page: Page) -> Locator:
    """The map, once it is drawn."""
    found = page.get_by_role("application", name=re.compile("Heat map of the norms of"))
    expect(found).to_be_visible(timeout=SOON)
    return found


def colour_at(page: Page, x: float, y: float) -> list[int]:
    """The colour of a pixel of the map: ``x`` as a share of its width, ``y`` in pixels."""
    script = """([x, y]) => {
        const canvas = document.querySelector("[role=application] canvas");
        return [...canvas.getContext("2d").getImageData(x * canvas.width, y * devicePixelRatio, 1, 1).data.slice(0, 3)];
    }"""
    return list(page.evaluate(script, [x, y]))


@pytest.fixture
def broken(service: ServiceProcess) -> Training:
    """A run whose norm is about 1 for 60 steps, and not finite for five more."""
    training = Training(service, "broken")
    training.train(60)
    training.break_down(5)
    return training


class TestHeatMap:
    def test_shows_norms_as_colours_reads_them_under_the_pointer_and_a_click_shows_the_series_of_a_row(
        self, open_page: OpenPage, broken: Training
    ) -> None:
        page = open_page(broken.path)
        seen = heat_map(page)
        expect(seen).to_have_accessible_name(re.compile("2 layers not finite somewhere, gru"))
        red, green, blue = colour_at(page, 0.4, FIRST_ROW - 3)
        assert green > red  # viridis from its first quarter on
        assert blue < 150
        non_finite = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--non-finite')")
        assert "#{:02x}{:02x}{:02x}".format(*colour_at(page, 0.96, FIRST_ROW - 4)) == non_finite.strip()

        seen.hover(position={"x": 300, "y": SECOND_ROW})
        expect(seen).to_contain_text(re.compile(rf"{re.escape(HEAD)}\s*step \d+\s*0\.\d+"))
        seen.click(position={"x": 300, "y": SECOND_ROW})
        expect(page).to_have_url(re.compile(r"\?layer=head\.weight$"))
        series = page.get_by_role("region", name=HEAD)
        norm = series.get_by_role("img", name=re.compile("Norm of this layer: last 0.*5 non-finite steps"))
        expect(norm).to_be_visible(timeout=SOON)
        expect(series).to_contain_text("Share of the squared gradient norm")
        page.reload()
        expect(norm).to_be_visible(timeout=SOON)
        series.get_by_role("button", name="Close the series").click()
        expect(page).to_have_url(re.compile(f"{broken.path}$"))

    def test_is_read_by_keyboard_searched_and_put_under_modules(self, open_page: OpenPage, broken: Training) -> None:
        page = open_page(broken.path)
        heat_map(page).focus()
        said = page.locator("[aria-live=polite]", has_text="step")
        page.keyboard.press("ArrowDown")  # from nowhere it begins at the newest step of the first row
        expect(said).to_have_text(f"{HIDDEN}, step 64: 1 norm not finite")
        page.keyboard.press("ArrowDown")
        expect(said).to_have_text(f"{HEAD}, step 64: 1 norm not finite")
        page.keyboard.press("Home")
        expect(said).to_have_text(f"{HEAD}, step 0: 0.6")
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name=HEAD)).to_be_visible()

        page.get_by_label("Find layers").fill("HEAD")
        expect(page.get_by_text("1 of 2 layers")).to_be_visible()
        page.get_by_label("By module").check()
        expect(page).to_have_url(re.compile(r"\?layer=head\.weight&find=HEAD&by=module$"))
        page.reload()
        heat_map(page).focus()
        page.keyboard.press("Home")
        expect(said).to_contain_text("head (1 layer), step ")
        page.keyboard.press("Enter")  # folds the module, and there is no row below it any more
        page.keyboard.press("ArrowDown")
        expect(said).to_contain_text("head (1 layer), step ")
        page.get_by_role("button", name="Show as a table").click()
        table = page.get_by_role("region", name="Show as a table")
        expect(table.get_by_role("row")).to_have_count(2)
        expect(table).to_contain_text("1 norm not finite")
        page.get_by_label("Find layers").fill("nose")
        page.get_by_role("button", name="Show all layers").click()
        expect(page.get_by_label("Find layers")).to_have_value("")


class TestLayerTable:
    def test_is_sorted_by_any_column_and_grows_with_the_run_as_the_heat_map_does(
        self, open_page: OpenPage, service: ServiceProcess
    ) -> None:
        training = Training(service, "live")
        training.train(60)
        page = open_page(training.path)
        table = page.get_by_role("region", name="Layers at the newest step")
        names = table.get_by_role("rowheader")
        expect(names).to_have_text([HIDDEN, HEAD], timeout=SOON)
        expect(table.get_by_role("columnheader", name="Share")).to_have_attribute("aria-sort", "descending")
        table.get_by_role("button", name="Norm").click()
        table.get_by_role("button", name="Norm").click()
        expect(names).to_have_text([HEAD, HIDDEN])
        expect(table.get_by_role("columnheader", name="Norm")).to_have_attribute("aria-sort", "ascending")
        expect(page).to_have_url(re.compile(r"\?sort=norm$"))
        page.reload()
        expect(names).to_have_text([HEAD, HIDDEN], timeout=SOON)
        expect(table.get_by_role("row").nth(1)).to_contain_text(re.compile("36 %.*[0-9.]+"))
        expect(heat_map(page)).not_to_have_accessible_name(re.compile("not finite"))
        training.break_down(5)
        expect(table.get_by_role("row").nth(1)).to_contain_text("NaN", timeout=SOON)
        expect(heat_map(page)).to_have_accessible_name(re.compile("2 layers not finite"), timeout=SOON)
        table.get_by_role("button", name=HEAD).click()
        expect(page.get_by_role("region", name=HEAD)).to_be_visible()
        expect(page).to_have_url(re.compile(r"layer=head\.weight"))
