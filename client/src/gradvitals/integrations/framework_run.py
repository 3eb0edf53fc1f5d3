"""A run whose loop belongs to a framework: begun, watched, paused and ended by the framework's events.

Knows no framework. Mistakes raise ConfigurationError when the callback is made or the training begins, never later.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from gradvitals.errors import ConfigurationError
from gradvitals.fused_step import ABSENT, put_attribute
from gradvitals.run import Run
from gradvitals.start import init

if TYPE_CHECKING:
    from torch import nn, optim

    from gradvitals.monitor import Monitor

_INIT = frozenset(inspect.signature(init).parameters)
_WATCH = frozenset(inspect.signature(Run.watch).parameters) - {"self", "model", "optimizer", "name", "scaler", "hook"}
_LIMITS = frozenset({"max_norm", "clip_value", "strategy"})


_Hook = TypeVar("_Hook", bound=Callable[..., None])


class HasRun(Protocol):
    """A callback."""

    _framework: FrameworkRun


def harmless(hook: _Hook) -> _Hook:
    """A callback's method that never raises into the framework: a fault of ours is told once, and training goes on."""

    @functools.wraps(hook)
    def guarded(self: HasRun, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as fault:  # noqa: BLE001 -- as above
            self._framework.tell(fault)

    return cast(_Hook, guarded)


class FrameworkRun:
    """What a callback does with its run.

    ``options`` are arguments of ``gradvitals.init``, for a run that is made when training begins and ends with it, and
    of ``Run.watch``. A run that is given instead stays its owner's to finish; only a training that fails ends it too.
    """

    def __init__(self, run: Run | None, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - _INIT - _WATCH)
        if unknown:
            raise ConfigurationError(f"{unknown[0]} is an argument of neither gradvitals.init nor run.watch")
        self._init = {name: value for name, value in options.items() if name in _INIT}
        self._watch = {name: value for name, value in options.items() if name in _WATCH}
        if run is not None and self._init:
            raise ConfigurationError(f"{next(iter(self._init))} is for gradvitals.init, but a run was given")
        self._given = run
        self._options: dict[str, Any] = {}  # with which the optimizers are watched
        self._watched: list[optim.Optimizer] = []
        self._spared: list[str] = []  # checkpoints that a rotation let go of, and that may not be deleted yet
        self._taken: list[tuple[object, str, Any]] = []  # whose attribute, which, what was there
        self._pause: AbstractContextManager[None] | None = None  # entered
        self._ended: Run | None = None  # the last one
        self.run: Run | None = None  # None while no training goes on
        self.monitors: list[Monitor] = []

    @property
    def step(self) -> int:
        """The number of the coming step, by the first optimizer where there are several; 0 without a training."""
        return self.monitors[0].step if self.monitors else 0

    def begin(self, step: int) -> Run:
        """Make the run, unless one was given. ``step`` numbers its first step, unless ``init``'s own argument does."""
        self.run = self._given if self._given is not None else init(**{"step": step, **self._init})
        return self.run

    def watch(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        *,
        name: str | None = None,
        scaler: object | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        """Watch one optimizer; ``limits`` is what the framework would have clipped to, as arguments of ``watch``."""
        if self.run is None:
            raise ConfigurationError("no training has begun: there is no run to watch an optimizer with")
        twice = sorted(_LIMITS & set(self._watch)) if limits else []
        if limits and twice:
            theirs = ", ".join(f"{name}={value:g}" for name, value in limits.items())
            raise ConfigurationError(f"the framework clips ({theirs}), and so does the callback's {twice[0]}: keep one")
        self._options = {"scaler": scaler, **self._watch, **(limits or {})}
        self.monitors.append(self.run.watch(model, optimizer, name=name, **self._options))
        self._watched.append(optimizer)

    def knows(self, optimizer: optim.Optimizer) -> bool:
        """Whether this optimizer is or was watched here."""
        return any(optimizer is watched for watched in self._watched)

    def watch_instead(self, place: int, model: nn.Module, optimizer: optim.Optimizer) -> None:
        """Watch an optimizer that has taken the place of another one, and makes its first step without us."""
        if self.run is None:
            return
        former = self.monitors[place] if place < len(self.monitors) else None
        try:
            monitor = self.run.watch(model, optimizer, name=None if former is None else former.name, **self._options)
        except ConfigurationError:  # it steps other layers, so it has a monitor of its own
            monitor = self.run.watch(model, optimizer, **self._options)
        monitor.step += 1
        self._watched.append(optimizer)
        if former is None:
            self.monitors.append(monitor)
        else:
            former.close()
            self.monitors[place] = monitor

    def rotate(self, path: str, delete: Callable[[str], object]) -> None:
        """Delete a checkpoint that the framework's rotation lets go of, unless it is the last clean one.

        What is spared is asked about again at the next rotation, so that at most one more than usual is kept.
        """
        waiting, self._spared = [*self._spared, path], []
        for each in dict.fromkeys(waiting):
            if self.run is None or self.run.may_delete(each):
                delete(each)
            else:
                self._spared.append(each)

    def tell(self, fault: Exception) -> None:
        """Tell the person of a fault of ours."""
        run = self.run or self._ended
        if run is not None:
            run._tell_fault(fault)

    def take_over(self, owner: object, **ours: Any) -> None:
        """Put attributes of ours onto an object of the framework; ``end`` puts back what was there."""
        for name, value in ours.items():
            self._taken.append((owner, name, vars(owner).get(name, ABSENT)))
            setattr(owner, name, value)

    def pause(self, reason: str) -> None:
        """Declare a stretch without steps; nothing where one is declared already, or no training goes on."""
        if self.run is not None and self._pause is None:
            self._pause = self.run.pause(reason)
            self._pause.__enter__()

    def resume(self) -> None:
        """Steps come again."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.__exit__(None, None, None)

    def end(self, error: BaseException | None = None) -> None:
        """Leave everything as it was, and end the run by how the training ended; harmless when done twice."""
        run, self.run = self.run, None
        self._ended = run or self._ended
        for owner, name, before in reversed(self._taken):
            put_attribute(owner, name, before)
        self._taken, self._watched, self._spared = [], [], []
        for monitor in self.monitors:
            monitor.close()
        self.monitors = []
        if run is not None and error is not None:
            run.__exit__(type(error), error, error.__traceback__)
        elif run is not None and run is not self._given:
            run.finish()
        self.resume()
