"""Steps whose numbers are still on a device: what the host knows of each waits here until they arrive.

Belongs to the thread that trains, as its ring does. Nothing here waits for the device, except ``drain``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gradvitals.layers import WatchedParameters
from gradvitals.logged import LoggedValues
from gradvitals.ring import Ring, RingDevice, Row


@dataclass(slots=True)  # not frozen, which would take four times as long to make: it is made at every step
class Sent:
    """What the host knows of a step when it is made."""

    step: int
    time: float
    max_norm: float
    watched: WatchedParameters
    places: list[int] | None
    norm_type: float
    non_finite: list[tuple[int, int, int]] | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """The same step with its numbers."""

    sent: Sent
    layer_norms: list[float]
    numbers: list[float]  # in the order in which they were sent
    weights: list[float] | None
    logged: LoggedValues


class InFlight:
    """What one monitor has on its way from a device."""

    def __init__(self, device: RingDevice) -> None:
        self._ring: Ring[tuple[int, _Pending | None]] = Ring(device)
        self._weights: tuple[int, list[float]] | None = None  # of which step; its own row comes just before it

    @property
    def lost(self) -> int:
        """Rows that did not arrive, since the device was too far behind."""
        return self._ring.lost

    def send(
        self,
        sent: Sent,
        logged: LoggedValues,
        layer_norms: Tensor,
        numbers: Sequence[Tensor | float],
        weights: Tensor | list[float] | None,
    ) -> None:
        """Have a step's numbers brought to the host, and with them those that were logged on a device."""
        if isinstance(weights, Tensor):
            self._ring.write([weights], (sent.step, None))
        known: list[float | None] = []
        tensors = []
        for number in numbers:
            if isinstance(number, Tensor) and (layer_norms.is_cpu or not number.is_cpu):
                tensors.append(number)
                known.append(None)
            else:
                known.append(float(number))
        names, values = logged.hand_over()
        at_hand = weights if isinstance(weights, list) else None
        pending = _Pending(sent, layer_norms.numel(), known, logged, names, at_hand)
        self._ring.write([layer_norms, *tensors, *values], (sent.step, pending))

    def arrived(self) -> list[Arrived]:
        """The steps whose numbers have arrived since the last call, oldest first."""
        return self._read(self._ring.ready())

    def drain(self, timeout_seconds: float) -> list[Arrived]:
        """All that arrives within the time; then nothing is on its way any more."""
        return self._read(self._ring.drain(timeout_seconds))

    def _read(self, rows: list[tuple[tuple[int, _Pending | None], Row]]) -> list[Arrived]:
        steps = []
        for (step, pending), row in rows:
            values = row.tolist()
            if pending is None:
                self._weights = (step, values)
                continue
            weights, self._weights = self._weights, None
            came = weights is not None and weights[0] == step
            steps.append(pending.with_numbers(values, weights[1] if weights and came else pending.weights))
        return steps


@dataclass(frozen=True, slots=True)
class _Pending:
    sent: Sent
    length: int  # how many values at the beginning of the row are layer norms
    known: list[float | None]  # None where the number is in the row
    logged: LoggedValues
    logged_names: list[str]  # of the values at the end of the row
    weights: list[float] | None  # where they were on the host

    def with_numbers(self, values: list[float], weights: list[float] | None) -> Arrived:
        rest = iter(values[self.length :])
        numbers = [next(rest) if number is None else number for number in self.known]
        self.logged.take_back(self.logged_names, list(rest))
        return Arrived(self.sent, values[: self.length], numbers, weights, self.logged)
