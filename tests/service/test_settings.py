"""Settings are refused in words when they are unsafe or contradictory."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gradvitals_service.settings import Settings, is_loopback

TOKENS = {"ingest_token": "gv_0123456789abcdef", "read_token": "gv_fedcba9876543210"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.delenv("GRADVITALS_STATE_DIR", raising=False)


def test_the_defaults_are_sqlite_and_loopback(tmp_path: Path) -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8765)
    assert settings.data_dir == tmp_path / "data" / "gradvitals"
    assert settings.state_dir == tmp_path / "state" / "gradvitals"
    assert settings.database_url == f"sqlite:///{tmp_path}/data/gradvitals/gradvitals.db"


def test_the_state_folder_is_the_clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path / "elsewhere"))
    assert Settings().state_dir == tmp_path / "elsewhere"


def test_what_is_given_overrules_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADVITALS_SERVICE_PORT", "9000")
    monkeypatch.setenv("GRADVITALS_SERVICE_ALERT", "json://one json://two")
    assert (Settings().port, Settings(port=9001).port) == (9000, 9001)
    assert Settings().alert == ("json://one", "json://two")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu.example"])
def test_another_host_than_loopback_needs_both_tokens(host: str) -> None:
    for given in ({}, {"ingest_token": TOKENS["ingest_token"]}, {"read_token": TOKENS["read_token"]}):
        with pytest.raises(ValidationError) as refusal:
            Settings(host=host, **given)
        assert "GRADVITALS_SERVICE_INGEST_TOKEN and GRADVITALS_SERVICE_READ_TOKEN" in str(refusal.value)
    assert Settings(host=host, **TOKENS).host == host


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"port": 65536}, "port"),
        ({"ingest_token": "short"}, "at least 16 characters"),
        ({"database_url": "mysql://localhost/x"}, "mysql is not spoken here"),
        ({"database_url": "nonsense"}, "not a database URL"),
        ({"database_url": "sqlite://"}, "SQLite in memory"),
        ({"database_url": "sqlite:///:memory:"}, "SQLite in memory"),
        ({"log_format": "xml"}, "log_format"),
        ({"public_url": "gv.example.com"}, "is not like https://"),
        ({"public_url": "https://example.com/gradvitals"}, "a path is not possible yet"),
        ({"prot": 1}, "prot"),
    ],
)
def test_what_cannot_be_is_refused_in_words(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(**given)
    assert words in str(refusal.value)


def test_no_print_of_the_settings_shows_a_token() -> None:
    assert TOKENS["read_token"] not in f"{Settings(**TOKENS)!r}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_public_url_ends_without_a_slash() -> None:
    assert Settings(public_url="https://gv.example.com/").public_url == "https://gv.example.com"
    assert Settings(public_url="").public_url is None
