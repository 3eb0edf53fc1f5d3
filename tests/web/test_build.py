"""What the built page weighs and what its sources promise; needs no browser."""

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

WEB = Path(__file__).parents[2] / "service" / "web"
MOST_BYTES = 150_000


def test_all_scripts_together_stay_under_150_kilobytes_compressed(built_page: Path) -> None:
    scripts = list(built_page.rglob("*.js"))
    assert scripts
    assert sum(len(gzip.compress(script.read_bytes())) for script in scripts) <= MOST_BYTES


def test_the_page_has_no_inline_script(built_page: Path) -> None:
    page = (built_page / "index.html").read_text()
    assert page.count("<script") == page.count(' src="/')
    assert "<style" not in page


def test_no_component_renders_markup_from_data() -> None:
    sources = list((WEB / "src").rglob("*.svelte"))
    assert sources
    assert [source.name for source in sources if "{@html" in source.read_text()] == []


def test_every_component_is_short_enough_to_hold() -> None:
    long = {source.name for source in (WEB / "src").rglob("*.svelte") if len(source.read_text().splitlines()) > 250}
    assert long == set()


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert packages
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_the_types_are_made_from_the_service_as_it_is() -> None:
    assert json.loads((WEB / "openapi.json").read_text()) == _describe_api(), (
        "stale: run `npm run types` in service/web"
    )


def _describe_api() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("print_openapi", WEB / "dev" / "print_openapi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described: dict[str, Any] = module.describe_api()
    return described
