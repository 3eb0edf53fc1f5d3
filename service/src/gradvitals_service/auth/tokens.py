"""The two tokens of a service without people: one that may send, one that may read.

They are made on the first start and kept in the data folder, readable by their owner alone, unless settings give them.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from gradvitals_service.settings import Settings

TOKEN_BYTES = 32


def make_token() -> str:
    """256 random bits with the prefix by which secret scanners know ours."""
    return "gv_" + secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """The secrets themselves; without a repr, so that no log line can hold them."""

    ingest: str
    read: str


def load_tokens(settings: Settings) -> Tokens:
    """Take each token from the settings, else from the file, else make it."""
    given_ingest = settings.ingest_token.get_secret_value() if settings.ingest_token else None
    given_read = settings.read_token.get_secret_value() if settings.read_token else None
    if given_ingest and given_read:
        return Tokens(given_ingest, given_read)
    kept = _kept_tokens(settings.data_dir / "tokens.json")
    return Tokens(given_ingest or kept.ingest, given_read or kept.read)


def _kept_tokens(path: Path) -> Tokens:
    """Read the file; make it when it is not there yet, so that two who start at once end with the same tokens."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {"ingest_token": make_token(), "read_token": make_token()}
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_private(fresh, json.dumps(made))
    try:
        os.link(fresh, path)  # unlike a rename, never replaces what another process has just put there
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    content = json.loads(path.read_text())
    return Tokens(ingest=content["ingest_token"], read=content["read_token"])


def write_private(path: Path, content: str) -> None:
    """Write a new file that only its owner may read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
