"""The documents name what there is: settings, commands, links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]


def test_every_setting_of_the_service_is_in_the_settings_page() -> None:
    from gradvitals_service.settings import Settings

    page = (ROOT / "docs" / "settings.md").read_text()
    assert [name for name in Settings.model_fields if f"GRADVITALS_SERVICE_{name.upper()}" not in page] == []


def test_the_settings_page_offers_nothing_that_the_service_does_not_have() -> None:
    from gradvitals_service.settings import Settings

    page = (ROOT / "docs" / "settings.md").read_text()
    named = set(re.findall(r"GRADVITALS_SERVICE_([A-Z_]+)", page))
    assert named == {name.upper() for name in Settings.model_fields}
    serve = [sys.executable, "-m", "gradvitals_service.cli", "serve", "--help"]
    options = set(re.findall(r"--[a-z-]+", subprocess.run(serve, capture_output=True, text=True).stdout))
    assert set(re.findall(r"--[a-z-]+[a-z]", page)) == options - {"--help", "--workers"}


def test_every_variable_that_the_client_reads_is_in_the_settings_page() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "client" / "src").rglob("*.py"))
    variables = set(re.findall(r"\bGRADVITALS_[A-Z_]+[A-Z]\b", sources))
    assert "GRADVITALS_URL" in variables, "the pattern finds nothing: this test shows nothing"
    assert [name for name in sorted(variables) if name not in page] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("command", ["serve", "migrate", "demo", "replay", "link", "detection", "what-if"])
def test_every_command_of_the_service_explains_itself(command: str) -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "gradvitals_service.cli", command, "--help"], capture_output=True, text=True
    )
    assert help_text.returncode == 0, help_text.stderr
    assert len(help_text.stdout) > 100


def test_the_readme_shows_the_two_lines_and_the_two_commands() -> None:
    for words in ("gradvitals.init(", "run.watch(", "-    torch.nn.utils.clip_grad_norm_", "make demo", "make test"):
        assert words in README


def test_the_versions_of_the_two_packages_are_the_same_and_in_the_changelog() -> None:
    versions = {
        re.search(r'"(.+)"', path.read_text()).group(1)  # type: ignore[union-attr]  # the line is there
        for path in ROOT.glob("*/src/*/_version.py")
    }
    assert len(versions) == 1
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert versions.pop() in changelog or "Unreleased" in changelog
