"""Where alerts go: channels under names that give no secret away, and the links that lead back here.

A channel's address holds passwords and tokens. It stays inside the channel: the database, the log and the errors know
it by its name, which follows from the address, so that a delivery finds its channel again after a restart.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from uuid import UUID

from gradvitals_service.alerts.message import Message


class ChannelError(Exception):
    """A message did not get through; the text says why and holds no secret."""


class Channel(Protocol):
    """One place that alerts go to."""

    @property
    def name(self) -> str:
        """What deliveries are addressed to; the same after a restart."""

    @property
    def description(self) -> str:
        """What a person is told of it at the start."""

    def send(self, message: Message) -> None:
        """Deliver within a bounded time or raise ChannelError."""


class Channels:
    """The channels of this service, and how the links in its alerts begin."""

    def __init__(self, channels: Iterable[Channel] = (), public_url: str = "") -> None:
        self._channels: Mapping[str, Channel] = {channel.name: channel for channel in channels}
        self._public_url = public_url.rstrip("/")
        self.on_enqueued: Callable[[], None] = _nobody_waits  # the dispatcher puts its wake-up here

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all channels."""
        return tuple(self._channels)

    def __getitem__(self, name: str) -> Channel:
        return self._channels[name]

    def run_url(self, run_id: UUID) -> str:
        """Where people see a run."""
        return f"{self._public_url}/runs/{run_id}"


def channel_name(url: str) -> str:
    """Name the channel at ``url``: its scheme and a short hash."""
    scheme = re.sub(r"[^a-z0-9+.-]", "", url.partition("://")[0].lower())[:32]
    return f"{scheme or 'channel'}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _nobody_waits() -> None:
    """Stand in for the dispatcher where none runs."""
