"""Read what the person set: an argument, else a GRADVITALS_* variable, else a default.

Also where to send: the address that was set, else the local service that the same user started, told by the file that
it wrote. Never a guess at a port: on a shared host that may be somebody else's service.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import msgspec

from gradvitals.errors import ConfigurationError
from gradvitals.frames import wire_text

Mode = Literal["online", "offline", "disabled"]
MODES = ("online", "offline", "disabled")

VARIABLES = {
    "GRADVITALS_MODE": "online, offline or disabled; it clips in each of them",
    "GRADVITALS_URL": "the address of the service, when it is not this user's own on this machine",
    "GRADVITALS_TOKEN": "the ingest token for GRADVITALS_URL",
    "GRADVITALS_PROJECT": "the project of runs that name none",
    "GRADVITALS_RUN_ID": "the run to belong to; the same on every rank and after a restart",
    "GRADVITALS_STATE_DIR": "the folder with the local service's service.json",
    "GRADVITALS_SPOOL_DIR": "where frames are kept until they are sent, instead of the state folder's spool",
    "GRADVITALS_SPOOL_MIB": "how much of it one process may fill, in MiB; 0 keeps frames in memory only",
    "GRADVITALS_QUIET": "1 to print nothing",
}
DEFAULT_PROJECT = "default"
NAME_CHARACTERS = 512
SERVICE_FILE_BYTES = 65_536
SPOOL_MIB = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """What was set, checked."""

    project: str
    mode: Mode
    url: str | None  # None: look for the local service
    token: str | None = field(repr=False)
    quiet: bool
    state_directory: Path
    spool_directory: Path
    spool_bytes: int  # of one process; 0: no spool


@dataclass(frozen=True, slots=True)
class Destination:
    """A service and the token that it takes frames with."""

    url: str
    token: str | None = field(repr=False)


class ServiceFile(msgspec.Struct, frozen=True):
    """What a running local service wrote for its own user."""

    url: str
    ingest_token: str

    def __repr__(self) -> str:
        return f"ServiceFile(url={self.url!r})"


def read_settings(
    *,
    project: str | None = None,
    mode: str | None = None,
    url: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Put arguments before the environment before defaults; raises ConfigurationError naming what is wrong."""
    env = os.environ if environment is None else environment
    return Settings(
        project=clean_name("project", project or env.get("GRADVITALS_PROJECT") or DEFAULT_PROJECT),
        mode=_check_mode("mode", mode) if mode is not None else _check_mode("GRADVITALS_MODE", _mode_of(env)),
        url=_check_url("url", url) if url is not None else _check_url("GRADVITALS_URL", env.get("GRADVITALS_URL")),
        token=_check_token("GRADVITALS_TOKEN", (env.get("GRADVITALS_TOKEN") or "").strip()),
        quiet=env.get("GRADVITALS_QUIET", "").strip().lower() in ("1", "true", "yes", "on"),
        state_directory=state_directory(env),
        spool_directory=spool_directory(env),
        spool_bytes=_check_mib("GRADVITALS_SPOOL_MIB", env.get("GRADVITALS_SPOOL_MIB", "")) << 20,
    )


def clean_name(field_name: str, value: object) -> str:
    """A name as the service takes it: 1 to 512 characters, NUL and lone surrogates replaced."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{field_name} is {value!r}, expected a string of 1 to {NAME_CHARACTERS} characters")
    cleaned = wire_text(value)
    if len(cleaned) > NAME_CHARACTERS:
        raise ConfigurationError(f"{field_name} has {len(cleaned)} characters, at most {NAME_CHARACTERS} are kept")
    return cleaned


def state_directory(environment: Mapping[str, str]) -> Path:
    """The folder in which a local service leaves its address."""
    # Path.expanduser would raise for a user without a home, as many containers have.
    if given := environment.get("GRADVITALS_STATE_DIR"):
        return Path(os.path.expanduser(given))
    return Path(environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "gradvitals"


def spool_directory(environment: Mapping[str, str]) -> Path:
    """The folder in which runs keep what is not sent yet."""
    if given := environment.get("GRADVITALS_SPOOL_DIR"):
        return Path(os.path.expanduser(given))
    return state_directory(environment) / "spool"


def find_service(settings: Settings, warn: Callable[[str], None]) -> Destination | None:
    """Where to send now; None while no service is known. Reads the local file anew each time."""
    if settings.url is not None and settings.token is not None:
        return Destination(settings.url, settings.token)
    local = read_service_file(settings.state_directory / "service.json", warn)
    if settings.url is None:
        return None if local is None else Destination(local.url.rstrip("/"), local.ingest_token)
    is_local = local is not None and local.url.rstrip("/") == settings.url
    return Destination(settings.url, local.ingest_token if local is not None and is_local else None)


def read_service_file(path: Path, warn: Callable[[str], None]) -> ServiceFile | None:
    """Read a local service's file if it is there and only its owner, who must be us, can read and write it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)  # of the open file, so that nobody can swap it in between
        if not stat.S_ISREG(status.st_mode):
            return None
        if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
            warn(f"{path} is ignored: it must belong to you and have mode 0600")
            return None
        found = msgspec.json.decode(os.read(descriptor, SERVICE_FILE_BYTES), type=ServiceFile)
        _check_url(str(path), found.url)
        _check_token(str(path), found.ingest_token)
        return found
    except (OSError, msgspec.MsgspecError, UnicodeError, ConfigurationError):
        warn(f"{path} is ignored: it does not say where a service is")
        return None
    finally:
        os.close(descriptor)


def _mode_of(environment: Mapping[str, str]) -> str:
    return environment.get("GRADVITALS_MODE", "").strip().lower() or "online"


def _check_mode(field_name: str, mode: str) -> Mode:
    if mode not in MODES:
        raise ConfigurationError(f"{field_name} is {mode!r}, expected one of {', '.join(MODES)}")
    return cast(Mode, mode)


def _check_mib(field_name: str, text: str) -> int:
    if not text.strip():
        return SPOOL_MIB
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) < 9):
        raise ConfigurationError(f"{field_name} is {text!r}, expected a whole number of MiB such as {SPOOL_MIB}")
    return int(text)


def _check_token(field_name: str, token: str) -> str | None:
    """A token as a header can carry it. The message never repeats it, as the HTTP library's would."""
    if not all("!" <= char <= "~" for char in token):
        raise ConfigurationError(f"{field_name} must hold one token: ASCII characters without spaces or line breaks")
    return token or None


def _check_url(field_name: str, url: str | None) -> str | None:
    """An http(s) address without its trailing slash. The message never repeats a password."""
    if url is None or not url.strip():
        return None
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid:
        raise ConfigurationError(f"{field_name} must be an address such as http://127.0.0.1:8765 or https://host/path")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{field_name} holds a user name or password; set GRADVITALS_TOKEN instead")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{field_name} must end with the path, without '?' or '#'")
    return url.strip().rstrip("/")
