"""Keep the values that ``run.log`` was given until the frame of their step is handed over.

A number on the host is read at once. One on a device is copied there, without waiting, and read on the sender's thread:
``run.log`` itself never waits for a device. Torch is never imported here; a tensor is known by what it can do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, cast

from gradvitals.frames import Frame

LOSS = "loss"


class DeviceTensor(Protocol):
    """What of a tensor is needed here."""

    @property
    def device(self) -> Any: ...
    def numel(self) -> int: ...
    def detach(self) -> DeviceTensor: ...
    def clone(self) -> DeviceTensor: ...
    def __float__(self) -> float: ...


class LoggedValues:
    """What was logged for one step: several values of a name become their mean, in which a NaN wins."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, list[float | DeviceTensor]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, name: str, value: object) -> None:
        """Keep one value; raises TypeError, in words, for what is not a single number."""
        self._values.setdefault(name, []).append(_keep(name, value))

    def merge(self, other: LoggedValues) -> None:
        """Take over what another log call gave for the same step."""
        for name, values in other._values.items():
            self._values.setdefault(name, []).extend(values)

    def read_into(self, frame: Frame, on_fault: Callable[[str, Exception], None]) -> None:
        """Read every value, which may wait for a device, and put their means into the frame."""
        for name, values in self._values.items():
            try:
                mean = _mean([float(value) for value in values])
            except Exception as fault:  # noqa: BLE001 -- a device's fault is raised by whoever reads from it next
                on_fault(name, fault)
                continue
            if name == LOSS:
                frame.loss = mean
            else:
                frame.scalars[name] = mean
        self._values.clear()


def _keep(name: str, value: object) -> float | DeviceTensor:
    if isinstance(value, (int, float)):
        return _to_float(name, value)
    if hasattr(value, "detach") and hasattr(value, "device"):
        tensor = cast(DeviceTensor, value)
        if tensor.numel() != 1:
            raise TypeError(f"{name!r} has {tensor.numel()} values; only single numbers are kept")
        if tensor.device.type == "cpu":
            return _to_float(name, tensor.detach())
        # A copy, since a captured graph writes the loss of every step into the same memory.
        return tensor.detach().clone()
    return _to_float(name, value)


def _to_float(name: str, value: object) -> float:
    if isinstance(value, (str, bytes)):  # float("1") would take them
        raise TypeError(f"{name!r} is {type(value).__name__}; only single numbers are kept")
    try:
        return float(value)  # type: ignore[arg-type]  # whatever cannot do it says so
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name!r} is {type(value).__name__}; only single numbers are kept") from error


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
