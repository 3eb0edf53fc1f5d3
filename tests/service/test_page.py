"""The built page is served for every path that it understands, and no path leads out of its folder."""

from pathlib import Path

import pytest
from service.speaking import ServiceUnderTest

from gradvitals_service import page


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in the place of Vite's output."""
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<title>gradvitals</title>")
    (static / "assets" / "index-abc.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(page, "STATIC", static)
    return static


@pytest.mark.parametrize("path", ["/", "/runs/0199a3c2-7d10-7abc-8def-0123456789ab", "/compare?runs=a,b", "/login"])
def test_the_page_is_served_where_it_reads_the_path_itself(service: ServiceUnderTest, built: Path, path: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, answer.text) == (200, "<title>gradvitals</title>")
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_file_under_assets_may_be_kept_for_ever(service: ServiceUnderTest, built: Path) -> None:
    answer = service.client.get("/assets/index-abc.js")
    assert (answer.text, "immutable" in answer.headers["Cache-Control"]) == ("1", True)
    assert "javascript" in answer.headers["Content-Type"]
    assert service.client.get("/assets/index-gone.js").status_code == 404


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/assets/../../secret", "/..%2fsecret", "//secret"])
def test_no_path_leads_out_of_the_folder(service: ServiceUnderTest, built: Path, path: str) -> None:
    assert "secret" not in service.client.get(path).text.replace("/secret", "").replace("..", "")


def test_a_page_that_is_not_built_says_so(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "STATIC", tmp_path / "nothing")
    answer = service.client.get("/")
    assert answer.status_code == 503
    assert "The web page is not built" in answer.text
