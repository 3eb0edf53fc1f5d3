"""Keep the values that ``run.log`` was given until the frame of their step is handed over.

A number on the host is read at once. One on a device is added up there, without waiting, and read on the sender's
thread: ``run.log`` itself never waits for a device. However often a name is logged, it takes the room of one value.
Torch is never imported here; a tensor is known by what it can do.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from gradvitals.frames import Frame

LOSS = "loss"


class DeviceTensor(Protocol):
    """What of a tensor is needed here."""

    @property
    def device(self) -> Any: ...
    def numel(self) -> int: ...
    def element_size(self) -> int: ...
    def detach(self) -> DeviceTensor: ...
    def clone(self) -> DeviceTensor: ...
    def float(self) -> DeviceTensor: ...
    def double(self) -> DeviceTensor: ...
    def is_complex(self) -> bool: ...
    def is_floating_point(self) -> bool: ...
    def __add__(self, other: Any) -> DeviceTensor: ...
    def __float__(self) -> builtins.float: ...


class LoggedValues:
    """What was logged for one step: several values of a name become their mean, in which a NaN wins."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, name: str, value: object) -> None:
        """Keep one value; raises TypeError, in words, for what is not a single number."""
        kept = _keep(name, value)
        self._sums.setdefault(name, _Sum()).add(kept, 1)

    def merge(self, other: LoggedValues) -> None:
        """Take over what another log call gave for the same step."""
        for name, theirs in other._sums.items():
            ours = self._sums.setdefault(name, _Sum())
            ours.add(theirs.on_host, theirs.count)
            for tensor in theirs.on_devices.values():
                ours.add(tensor, 0)

    def hand_over(self) -> tuple[list[str], list[Any]]:
        """Take out what lies on devices, to be read elsewhere: names and tensors. ``take_back`` ends it."""
        names, tensors = [], []
        for name, values in self._sums.items():
            for tensor in values.on_devices.values():
                names.append(name)
                tensors.append(tensor)
            values.on_devices = {}
        return names, tensors

    def take_back(self, names: Sequence[str], numbers: Sequence[float]) -> None:
        """Put in, as numbers, what was handed over."""
        for name, number in zip(names, numbers, strict=True):
            self._sums[name].on_host += number

    def read_into(self, frame: Frame, on_fault: Callable[[str, Exception], None]) -> None:
        """Read every value, which may wait for a device, and put their means into the frame."""
        for name, values in self._sums.items():
            try:
                mean = values.mean()
            except Exception as fault:  # noqa: BLE001 -- a device's fault is raised by whoever reads from it next
                on_fault(name, fault)
                continue
            if name == LOSS:
                frame.loss = mean
            else:
                frame.scalars[name] = mean
        self._sums.clear()


class _Sum:
    """The values of one name, added up where each lies."""

    __slots__ = ("count", "on_devices", "on_host")

    def __init__(self) -> None:
        self.count = 0
        self.on_host = 0.0
        self.on_devices: dict[Any, DeviceTensor] = {}

    def add(self, value: float | DeviceTensor, count: int) -> None:
        """Add a value, or a sum of ``count`` values."""
        self.count += count
        if isinstance(value, float):
            self.on_host += value
        else:
            held = self.on_devices.get(value.device)
            self.on_devices[value.device] = value if held is None else held + value

    def mean(self) -> float:
        """The mean, for which it may have to wait."""
        return (self.on_host + sum(float(tensor) for tensor in self.on_devices.values())) / self.count


def _keep(name: str, value: object) -> float | DeviceTensor:
    if hasattr(value, "detach") and hasattr(value, "device"):
        tensor = cast(DeviceTensor, value).detach()
        if tensor.numel() != 1:
            raise TypeError(f"{name!r} has {tensor.numel()} values; only single numbers are kept")
        if tensor.is_complex():
            raise TypeError(f"{name!r} is complex; only single numbers are kept")
        if tensor.device.type != "cpu":
            if not tensor.is_floating_point():
                return tensor.double()
            # A copy, since a captured graph writes the loss of every step into the same memory; one that sums well.
            return tensor.float() if tensor.element_size() < 4 else tensor.clone()
        value = tensor
    return _to_float(name, value)


def _to_float(name: str, value: Any) -> float:
    try:
        # What is in an array comes out first: numpy warns of the float() of one that has a dimension.
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, (str, bytes)):  # float("1") would take them
            raise TypeError
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name!r} is {type(value).__name__}; only single numbers are kept") from error
