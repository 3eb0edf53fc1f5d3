"""Keep the values that ``run.log`` was given until the frame of their step is handed over.

A number on the host is read at once. One on a device is added up there, without waiting, and read on the sender's
thread: ``run.log`` itself never waits for a device. However often a name is logged, it takes the room of one value.
Torch is never imported here; a tensor is known by what it can do.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsIndex, cast

from gradvitals.frames import Frame
from gradvitals.settings import NAME_CHARACTERS, clean_name

LOSS = "loss"
BATCH_ID = "batch_id"


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
    """What was logged for one step: several values of a name become their mean, in which a NaN wins; several batches
    are named one after the other."""

    __slots__ = ("_batch_id", "_sums")

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = {}
        self._batch_id = ""

    def __len__(self) -> int:
        return len(self._sums) + bool(self._batch_id)

    def name_batch(self, batch_id: object) -> None:
        """Keep what a batch of this step is called; raises TypeError or ConfigurationError, in words, for no name."""
        self._also_of(_as_batch_id(batch_id))

    def _also_of(self, batch_id: str) -> None:
        """The step has a batch of this name; the one named last is not named twice in a row."""
        if batch_id and batch_id != self._batch_id and not self._batch_id.endswith(f", {batch_id}"):
            joined = f"{self._batch_id}, {batch_id}" if self._batch_id else batch_id
            self._batch_id = joined[:NAME_CHARACTERS]

    def add(self, name: str, value: object) -> None:
        """Keep one value; raises TypeError, in words, for what is not a single number."""
        kept = _keep(name, value)
        self._sums.setdefault(name, _Sum()).add(kept, 1)

    def merge(self, other: LoggedValues) -> None:
        """Take over what another log call gave for the same step."""
        self._also_of(other._batch_id)
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
        if self._batch_id:
            frame.batch_id, self._batch_id = self._batch_id, ""


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


def _as_batch_id(batch_id: object) -> str:
    if not isinstance(batch_id, str):
        if hasattr(batch_id, "detach") or not hasattr(batch_id, "__index__"):  # to read a tensor may be to wait for it
            kind = type(batch_id).__name__
            raise TypeError(f"{BATCH_ID!r} is {kind}; only a text or a whole number names a batch")
        batch_id = str(operator.index(cast(SupportsIndex, batch_id)))
    return clean_name(BATCH_ID, batch_id)


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
