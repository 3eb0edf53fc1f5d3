"""The service's settings: command line over ``GRADVITALS_SERVICE_*`` over defaults.

Everything that makes a configuration unsafe or contradictory is refused here, before anything listens.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


def default_data_dir() -> Path:
    """Where the database and the tokens lie."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "gradvitals"


def default_state_dir() -> Path:
    """Where a client of the same user looks for the local service; the client has the same rule."""
    if own := os.environ.get("GRADVITALS_STATE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "gradvitals"


class Settings(BaseSettings):
    """One running service."""

    model_config = SettingsConfigDict(env_prefix="GRADVITALS_SERVICE_", extra="forbid", validate_default=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8765, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    public_url: str | None = Field(None, description="how people reach the service, for links in alerts")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field((), description="further host names to answer for")
    database_url: str = Field("", description="SQLite or PostgreSQL; by default SQLite in the data folder")
    data_dir: Path = Field(default_factory=default_data_dir, description="folder of the database and the tokens")
    state_dir: Path = Field(default_factory=default_state_dir, description="folder of the file that clients look for")
    ingest_token: SecretStr | None = Field(None, description="what clients send with; made on first start if absent")
    read_token: SecretStr | None = Field(None, description="what readers send with; made on first start if absent")
    alert: Annotated[tuple[str, ...], NoDecode] = Field((), description="Apprise URLs that critical events go to")
    log_format: Literal["console", "json"] = Field("console", description="how the log is written")

    @field_validator("alert", "allowed_hosts", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        """From the environment: words apart by white space."""
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _refuse_what_links_cannot_lead_to(cls, value: str | None) -> str | None:
        if not value:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query or url.fragment:
            raise ValueError(f"{value} is not like https://gradvitals.example.com; a path is not possible yet")
        return value.rstrip("/")

    @field_validator("ingest_token", "read_token")
    @classmethod
    def _refuse_short_tokens(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("a token needs at least 16 characters")
        return value

    @field_validator("database_url")
    @classmethod
    def _refuse_unknown_databases(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValueError("not a database URL; say sqlite:////path/file.db or postgresql://...") from None
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError(f"{url.get_backend_name()} is not spoken here; use sqlite or postgresql")
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("SQLite in memory forgets what was acknowledged; name a file")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.database_url:
            self.database_url = f"sqlite:///{self.data_dir / 'gradvitals.db'}"
        if not is_loopback(self.host) and not (self.ingest_token and self.read_token):
            raise ValueError(
                f"host {self.host} can be reached from other machines, and there are no people and passwords yet: "
                "set both GRADVITALS_SERVICE_INGEST_TOKEN and GRADVITALS_SERVICE_READ_TOKEN, or listen on 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
