"""Tokens are made once, kept for their owner alone, and overruled by settings."""

import json
import stat
import threading
from pathlib import Path

from gradvitals_service.auth.tokens import Tokens, load_tokens
from gradvitals_service.settings import Settings


def test_tokens_are_made_on_the_first_start_and_kept(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    first, second = load_tokens(settings), load_tokens(settings)
    assert first == second
    assert first.ingest != first.read
    assert first.ingest.startswith("gv_")
    assert len(first.ingest) == len("gv_") + 43  # 256 bits in base64


def test_only_their_owner_may_read_the_file(tmp_path: Path) -> None:
    load_tokens(Settings(data_dir=tmp_path / "data"))
    assert stat.S_IMODE((tmp_path / "data" / "tokens.json").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tokens.json"]


def test_settings_overrule_the_file(tmp_path: Path) -> None:
    given = "gv_given_by_the_operator"
    tokens = load_tokens(Settings(data_dir=tmp_path, ingest_token=given))
    assert tokens.ingest == given
    assert tokens.read == json.loads((tmp_path / "tokens.json").read_text())["read_token"]


def test_two_that_start_at_once_end_with_the_same_tokens(tmp_path: Path) -> None:
    found: list[Tokens] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait(10)
        found.append(load_tokens(Settings(data_dir=tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(found)) == 1


def test_no_print_of_tokens_shows_them() -> None:
    assert "secret" not in f"{Tokens('secret-ingest', 'secret-read')!r}"
