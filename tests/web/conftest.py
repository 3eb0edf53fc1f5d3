"""A real service, a real browser, and the built page between them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from service_process import ServiceProcess

CHROMIUM = Path("/usr/bin/chromium")
STATIC = Path(__file__).parents[2] / "service" / "src" / "gradvitals_service" / "static"
DESKTOP = (1280, 900)

OpenPage = Callable[..., Page]


def require(condition: bool, missing: str) -> None:
    """Skip with a visible reason; fail where GRADVITALS_REQUIRE names chromium."""
    if condition:
        return
    if "chromium" in os.environ.get("GRADVITALS_REQUIRE", ""):
        pytest.fail(f"GRADVITALS_REQUIRE names chromium, but {missing}")
    pytest.skip(missing)


@pytest.fixture(scope="session")
def built_page() -> Path:
    """The folder of the built page."""
    require((STATIC / "index.html").exists(), "the page is not built: run `npm ci && npm run build` in service/web")
    return STATIC


@pytest.fixture(scope="module")  # while it is there an event loop runs, and tests that follow could begin none
def playwright() -> Iterator[Playwright]:
    """Playwright itself."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(built_page: Path, playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium."""
    require(CHROMIUM.exists(), f"there is no Chromium at {CHROMIUM}")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """An empty service of this test alone."""
    service = ServiceProcess(tmp_path, forked=True).start()
    yield service
    service.stop()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: errors of scripts, and what the content security policy refused."""
    return []


@pytest.fixture
def open_page(browser: Browser, service: ServiceProcess, complaints: list[str]) -> Iterator[OpenPage]:
    """Open a path in a window of its own, logged in unless told otherwise; the browser must not complain."""
    contexts = []

    def open_page(path: str = "/", size: tuple[int, int] = DESKTOP, login: bool = True, dark: bool = False) -> Page:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light")
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_complaint(message.text) else None)
        page.on("dialog", lambda dialog: (complaints.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _note_foreign(request.url, service.url, complaints))
        if login:
            page.goto(service.post("/api/v1/login-codes", {}, token="read_token")["url"])
        if not login or path != "/":
            page.goto(service.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def is_complaint(text: str) -> bool:
    """A refusal by the content security policy; what the network fails at is told by the page itself."""
    return "Content Security Policy" in text


def _note_foreign(url: str, own: str, complaints: list[str]) -> None:
    if not url.startswith((own, "data:")):
        complaints.append(f"a request to {url}")
