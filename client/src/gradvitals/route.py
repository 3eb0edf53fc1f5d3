"""Which transport to use now, which may change when a local service appears, restarts or moves.

A route is asked by the sender's thread only. It may read a small file; it never opens a connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gradvitals.settings import Destination
from gradvitals.transport import HTTPTransport, Transport

LOOK_AGAIN_SECONDS = 5.0


class Route(Protocol):
    """Says where frames go. ``absence`` is what a person is told while that is nowhere."""

    absence: str

    @property
    def url(self) -> str | None:
        """Where they go, as far as it is known."""

    def current(self) -> Transport | None:
        """The transport to use now; None while no service is known."""

    def close(self) -> None:
        """Nothing more is sent: let go of the connection."""


class FixedRoute:
    """Always the same transport."""

    absence = ""  # it is always there

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def url(self) -> str | None:
        """Where the transport sends to."""
        return self._transport.url

    def current(self) -> Transport:
        """The transport."""
        return self._transport

    def close(self) -> None:
        """The transport is somebody else's, and stays as it is."""


class OfflineRoute:
    """Nowhere, because the person said so."""

    url = None

    def __init__(self, kept_in: str | None = None) -> None:
        if kept_in is None:
            self.absence = "offline: frames are held in memory only and end with this process"
        else:
            self.absence = f"offline: frames are kept in {kept_in}; `gradvitals sync` sends them"

    def current(self) -> None:
        """Nothing is sent."""

    def close(self) -> None:
        """There is nothing to let go of."""


class SearchedRoute:
    """The service that ``find`` finds, looked for now and then; another answer makes another transport."""

    absence = "no service is known: start `gradvitals-service serve` or set GRADVITALS_URL; frames wait for it"

    def __init__(
        self,
        find: Callable[[], Destination | None],
        open_transport: Callable[[Destination], Transport] = lambda found: HTTPTransport(found.url, found.token),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._open_transport = open_transport
        self._clock = clock
        self._found = find()
        self._looked_at = clock()
        self._transport: Transport | None = None

    @property
    def url(self) -> str | None:
        """Where the service that was found last listens."""
        return None if self._found is None else self._found.url

    def current(self) -> Transport | None:
        """The transport to the service that is known now."""
        # As long as none is known every call looks: the last one, on leaving, may be the first that finds it.
        if self._found is None or self._clock() - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._looked_at = self._clock()
            found = self._find()
            # A file that has gone means that the service stopped, perhaps to start again: keep trying the known place.
            if found is not None and found != self._found:
                self._found = found
                self.close()
        if self._transport is None and self._found is not None:
            self._transport = self._open_transport(self._found)
        return self._transport

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._transport is not None:
            self._transport.close()
        self._transport = None
