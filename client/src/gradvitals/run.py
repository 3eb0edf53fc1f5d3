"""A run: what ties a training loop's watched optimizers and logged values to the sender.

Once ``init`` and ``watch`` have returned, nothing here raises into the training, and nothing waits for the network
before ``finish``. The training thread owns everything in this file; the sender's thread only reads the declarations.
"""

from __future__ import annotations

import itertools
import operator
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from gradvitals.announce import Announcer
from gradvitals.checkpoints import Checkpoint, Checkpoints, look_at
from gradvitals.declarations import Attempt, RunDeclaration, WatchedFacts
from gradvitals.elsewhere import refuse_what_clips_elsewhere
from gradvitals.errors import ConfigurationError
from gradvitals.frames import FLAG_SEAM, Frame
from gradvitals.logged import BATCH_ID, LOSS, LoggedValues
from gradvitals.observer import Observer
from gradvitals.route import OfflineRoute, Route
from gradvitals.sender import Sender
from gradvitals.settings import clean_name
from gradvitals.summary import Summary, describe_watch

if TYPE_CHECKING:
    from torch import Tensor, nn, optim

    from gradvitals.clipping import ClipStrategy
    from gradvitals.monitor import Monitor
    from gradvitals.norms import GradientNorms

FINISH_SECONDS = 5.0
DRAIN_SECONDS = 2.0  # of these, for the last steps to come from a device
MONITOR_NAME_CHARACTERS = 128
SCALAR_NAMES = 64  # the wire's limit beside the loss

_open_runs: set[Run] = set()  # those that send; kept until they are finished


class Run:
    """One training job, made by ``gradvitals.init``. A context manager: leaving it finishes the run and says how.

    Calls come from the thread that trains.
    """

    def __init__(
        self,
        declaration: RunDeclaration,
        attempt: Attempt,
        *,
        first_step: int,
        announcer: Announcer,
        sender: Sender | None,
        route: Route,
        summary: Summary | None = None,
    ) -> None:
        self._declaration = declaration
        self._attempt = attempt
        self._first_step = first_step
        self._announcer = announcer
        self._sender = sender
        self._route = route
        self._monitors: dict[str, Monitor | Observer] = {}
        self._coming: LoggedValues | None = None  # what the coming step's frame will carry
        self._logged_names = {LOSS}
        self._reserved: dict[str, deque[tuple[int, LoggedValues]]] = {}  # by monitor: of steps whose frames follow
        self._summary = summary or Summary()  # whoever gets the frames counts them
        self._checkpoints = Checkpoints(self._tell_checkpoint)
        self._faults_told: set[str] = set()
        self._finished = False
        self._hand_over = None if sender is None else sender.submit  # looked up once, not on every step
        self._seam_step = None if attempt.resumed_from_step is None else first_step
        if sender is not None:
            sender.before_telling = partial(self._guarded, self._note_facts)
            _open_runs.add(self)

    def __repr__(self) -> str:
        return f"<gradvitals.Run {self._declaration.name!r} {self.run_id}>"

    def __reduce__(self) -> tuple[Callable[..., Run], tuple[object, ...]]:
        # A trainer that holds a run may be copied, saved or sent to a worker. What arrives there is not the run.
        return _unsent_copy, (self._declaration, self._attempt, self.step)

    @property
    def run_id(self) -> str:
        """The run's id, which a resume passes to ``init``."""
        return self._declaration.run_id

    @property
    def name(self) -> str:
        """The run's name, as people see it."""
        return self._declaration.name

    @property
    def url(self) -> str | None:
        """The page of this run; None while no service is known."""
        address = self._route.url
        return None if address is None else f"{address}/runs/{self.run_id}"

    @property
    def step(self) -> int:
        """The number of the coming step: what a checkpoint saved now passes as ``init(step=)`` when it is resumed."""
        main = next(iter(self._monitors.values()), None)
        return self._first_step if main is None else main.step

    def watch(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        *,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        clip_value: float | None = None,
        strategy: ClipStrategy | Callable[[Sequence[Tensor], GradientNorms], object] | None = None,
        scaler: object | None = None,
        name: str | None = None,
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] | None = None,
        group_by: str | Iterable[str] | None = None,
        on_non_finite: str = "keep",
        hook: bool = True,
    ) -> Monitor:
        """Clip and measure inside each ``optimizer.step()`` from now on; raises ConfigurationError for a mistake.

        ``max_norm`` limits the norm of all gradients as one vector, ``clip_value`` each element, and ``strategy`` is
        another way to clip, such as ``ClipByLayerNorm(1.0)`` or a function ``f(gradients, norms)`` that changes them in
        place; with none of these, the gradients are only measured. ``scaler`` is the loop's GradScaler. ``include`` and
        ``exclude`` are globs over parameter names that choose what is measured one by one; ``group_by="layers.*"``
        measures all of ``layers.0`` together. ``on_non_finite`` is "keep" (as torch does), "skip" (weights and
        optimizer stay as they are) or "raise" (NonFiniteGradientError). With ``hook=False`` the loop calls
        ``monitor.clip_()`` itself.

        An optimizer that this run watches already keeps its monitor, which is returned as it is. One that was made anew
        for the same layers continues the monitor of that ``name``. A sharded model must be watched by all of its ranks.
        """
        refuse_what_clips_elsewhere(model, optimizer)
        try:
            from gradvitals.monitor import Monitor, monitor_of
        except ImportError as error:  # torch is the training environment's, never installed by us
            raise ConfigurationError(f"watch needs torch, which cannot be imported here: {error}") from error
        known = monitor_of(optimizer)
        if known is not None and known.recording and self._monitors.get(known.name) is known:
            self._announcer.say(f"this optimizer is watched already, as {known.name}: its settings stay as they are")
            return known
        name = self._name_monitor(name)
        step = self._first_step_of(name, model, optimizer)
        monitor = Monitor(
            model,
            optimizer,
            name=name,
            sink=self,
            max_norm=max_norm,
            norm_type=norm_type,
            clip_value=clip_value,
            strategy=strategy,
            scaler=scaler,
            include=include,
            exclude=exclude,
            group_by=group_by,
            on_non_finite=on_non_finite,
            hook=hook,
            step=step,
            tell=self._announcer.say,
        )
        facts = self._add_monitor(
            monitor, None if strategy is None else getattr(strategy, "__name__", type(strategy).__name__)
        )
        self._announcer.say(describe_watch(name, len(monitor.layout.layers), facts))
        return monitor

    def observer(self, *, max_norm: float | None = None, name: str | None = None) -> Observer:
        """A monitor that clips and measures nothing, and is told each step's norm with ``observe(total_norm)``.

        For trainings that clip by themselves: DeepSpeed, Megatron, a pipeline. ``max_norm`` is the limit that they clip
        by. Raises ConfigurationError for a mistake.
        """
        name = self._name_monitor(name)
        if name in self._monitors:
            raise ConfigurationError(f"name is {name!r}, which another monitor of this run has already")
        observer = Observer(
            name=name,
            submit=self.submit,
            max_norm=max_norm,
            step=self._first_step,
            tell_once=self._announcer.say_once,
        )
        self._add_monitor(observer, strategy=None)
        self._announcer.say(f"taking the norms that {name} is told; nothing is clipped or measured here")
        return observer

    def log(self, values: Mapping[str, object] | None = None, /, *, step: int | None = None, **named: object) -> None:
        """Log numbers, the loss as ``loss=``: before a step for that step, with ``step=`` for an earlier ``run.step``.

        Several values of a name within one step become their mean, in which NaN wins. A tensor on a device is read
        later, without waiting here. ``batch_id=``, a text of at most 512 characters or a whole number, says which
        batch it is, so that an alert can name it; several are named one after the other. What cannot be kept is told
        once, never raised.
        """
        if self._sender is None or self._finished:
            return
        try:
            self._log({**(values or {}), **named}, step)
        except Exception as fault:  # noqa: BLE001 -- logging must not end a training
            self._tell_fault(fault, "run.log failed and will be ignored where it does")

    def saved(self, step: int, path: str | os.PathLike[str]) -> None:
        """Tell of a checkpoint that was just saved to ``path``, with ``run.step`` as its ``step``.

        An alert can then say which one to resume from. The file is not opened, and nothing waits; what cannot be told
        is said once, never raised.
        """
        try:
            self._collect()
            remark = self._checkpoints.saved(step, path, look_at(self._monitors))
            if remark is not None:
                self._announcer.say_once("saved step", remark)
        except Exception as fault:  # noqa: BLE001 -- telling of a checkpoint must not end a training
            self._tell_fault(fault, "run.saved failed and will be ignored where it does")

    def may_delete(self, path: str | os.PathLike[str]) -> bool:
        """Whether a rotation may delete this checkpoint: not the newest clean one, until a newer one is known to be.

        Ask right before deleting: what may be deleted counts as deleted, and is not named to anybody any more.
        """
        try:
            self._collect()
            held = None if self._sender is None else self._sender.checkpoints.newest_clean
            return self._checkpoints.may_delete(path, look_at(self._monitors), held)
        except Exception as fault:  # noqa: BLE001 -- as above; a rotation goes on as it would without us
            self._tell_fault(fault, "run.may_delete failed and allows what it does not know")
            return True

    def reserve(self, monitor: Monitor, step: int) -> LoggedValues:
        """Give what was logged for a step whose frame follows later. Called by monitors, as ``submit`` is."""
        logged, self._coming = self._coming or LoggedValues(), None
        if self._sender is not None and not self._finished:
            self._attempt.last_step = step
            self._reserved.setdefault(monitor.name, deque()).append((step, logged))
        return logged

    def submit(self, monitor: Monitor | Observer, frame: Frame, reserved: LoggedValues | None = None) -> None:
        """Take a monitor's frame, with what was logged for it. Called by monitors; never blocks, never raises."""
        hand_over = self._hand_over
        if hand_over is None:
            return
        try:
            logged = reserved
            if reserved is not None:
                self._forget_reserved(monitor.name, frame.step)
            else:
                self._attempt.last_step = frame.step
                logged, self._coming = self._coming, None
            if frame.step == self._seam_step:
                frame.flags |= FLAG_SEAM
            if frame.non_finite and self._attempt.rank != 0 and not monitor.is_sharded:
                frame.non_finite = None  # counted in the gradients that all ranks share: rank 0 tells of them
            hand_over(monitor.name, frame, logged)  # of another rank than 0, its store keeps little: OwnDifferences
        except Exception as fault:  # noqa: BLE001 -- as above
            self._tell_fault(fault)

    @contextmanager
    def pause(self, reason: str = "") -> Iterator[None]:
        """Declare a stretch without steps, an evaluation say, so that nobody takes it for a hang."""
        self._guarded(self._collect)
        self._guarded(self._set_state, "paused")
        try:
            yield
        finally:
            self._guarded(self._set_state, "running")

    def finish(self) -> None:
        """End the run: deliver what is left, for a few seconds at most, and say how it went. Later steps still clip."""
        self._finish("finished", None, FINISH_SECONDS)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.finish()
        else:
            self._finish("failed", kind.__name__, FINISH_SECONDS)

    def _name_monitor(self, name: str | None) -> str:
        if self._finished:
            raise ConfigurationError("this run is finished; watch needs a new one from gradvitals.init")
        if name is None:
            names = itertools.chain(["main"], (f"main-{count}" for count in itertools.count(2)))
            name = next(name for name in names if name not in self._monitors)
        name = clean_name("name", name)
        if len(name) > MONITOR_NAME_CHARACTERS:
            raise ConfigurationError(f"name has {len(name)} characters, at most {MONITOR_NAME_CHARACTERS} are kept")
        return name

    def _first_step_of(self, name: str, model: nn.Module, optimizer: optim.Optimizer) -> int:
        """The number of a new monitor's first step: it may continue the one of that name."""
        former = self._monitors.get(name)
        if former is None:
            return self._first_step
        if isinstance(former, Observer) or not former.is_continued_by(model, optimizer):
            raise ConfigurationError(f"name is {name!r}, which another monitor of this run has already")
        former.drain()
        return former.step

    def _add_monitor(self, monitor: Monitor | Observer, strategy: str | None) -> WatchedFacts:
        former = self._monitors.get(monitor.name)
        if former is not None:
            former.stop_recording()  # it still clips, should its optimizer be used again
        facts = WatchedFacts(monitor.optimizer_name, monitor.norm_type, monitor.clip_value, monitor.max_norm, strategy)
        self._attempt.monitors = {**self._attempt.monitors, monitor.name: facts}
        self._monitors = {**self._monitors, monitor.name: monitor}  # last: the sender's thread goes through it
        return facts

    def _log(self, values: dict[str, object], step: int | None) -> None:
        logged = LoggedValues()
        for name, value in values.items():
            try:
                if name == BATCH_ID:
                    logged.name_batch(value)
                    continue
                if name not in self._logged_names:
                    name = clean_name("a logged name", name)
                if name not in self._logged_names and len(self._logged_names) > SCALAR_NAMES:
                    self._announcer.say_once("names", f"{name!r} is not kept: {SCALAR_NAMES} names are logged already")
                    continue
                logged.add(name, value)
                self._logged_names.add(name)
            except (ConfigurationError, TypeError) as error:
                self._announcer.say_once(f"log {name}", f"run.log: {error}")
        if step is None or operator.index(step) >= self.step:
            self._coming = _merged(self._coming, logged)
        elif not self._amend({name: operator.index(step) for name in self._monitors}, logged):
            self._announcer.say_once("late", f"run.log(step={step}) came too late: that step was sent or never seen")

    def _amend(self, steps: Mapping[str, int], logged: LoggedValues) -> bool:
        """Add to the first of these monitors' steps that is still held: the first monitor's steps are the run's."""
        for name, step in steps.items():
            for reserved_step, reserved in self._reserved.get(name, ()):
                if reserved_step == step:
                    reserved.merge(logged)
                    return True
        sender = self._sender
        return sender is not None and any(sender.amend(name, step, logged) for name, step in steps.items())

    def _forget_reserved(self, name: str, step: int) -> None:
        """The frame of ``step`` has come; one before it that has not is lost."""
        reserved = self._reserved.get(name)
        while reserved and reserved[0][0] <= step:
            reserved.popleft()

    def _collect(self) -> None:
        """Take the frames that have come from a device since the last step: between steps nobody else does."""
        for monitor in self._monitors.values():
            if not isinstance(monitor, Observer):
                monitor.collect()

    def _tell_checkpoint(self, path: str, checkpoint: Checkpoint | None) -> None:
        """Rank 0 speaks for all of them, as with frames."""
        if self._sender is not None and self._attempt.rank == 0 and not self._finished:
            self._sender.tell_checkpoint(path, checkpoint)

    def _set_state(self, state: str) -> None:
        if self._sender is not None and not self._finished:
            self._attempt.state = state
            self._sender.beat()

    def _finish(self, state: str, exception: str | None, timeout_seconds: float) -> None:
        if not self._finished:
            deadline = time.monotonic() + timeout_seconds
            self._guarded(self._end, state, exception)
            self._guarded(self._wait, max(deadline - time.monotonic(), 0.0))

    def _end(self, state: str, exception: str | None) -> None:
        """Take nothing more, and have the sender deliver what is left."""
        deadline = time.monotonic() + DRAIN_SECONDS  # for all of them, since one device may have stopped for all
        for monitor in self._monitors.values():
            if not isinstance(monitor, Observer):
                monitor.drain(max(deadline - time.monotonic(), 0.0))
        self._finished = True
        self._hand_over = None
        _open_runs.discard(self)
        for monitor in self._monitors.values():
            monitor.stop_recording()
        if self._sender is None:
            return
        newest = {name: monitor.step - 1 for name, monitor in self._monitors.items()}
        if self._coming and not self._amend(newest, self._coming):
            self._announcer.say("what was logged after the last step could not be kept: no step is left to join")
        self._attempt.state, self._attempt.exception = state, exception
        self._sender.begin_close()

    def _note_facts(self) -> None:
        """Bring up to date what the attempt says of the monitors. Called by the sender's thread."""
        for name, monitor in self._monitors.items():
            facts = self._attempt.monitors[name]
            facts.max_norm, facts.overhead = monitor.max_norm, monitor.overhead

    def _wait(self, timeout_seconds: float) -> None:
        """Wait until all is delivered, and say how it went."""
        if self._sender is not None:
            self._sender.close(timeout_seconds)
            outcome = self._sender.outcome()  # first: what it has not looked at is not counted yet
            self._announcer.say(f"{self._summary.line(self._sender.events_told)}; {outcome}")

    def _guarded(self, part: Callable[..., None], *arguments: object) -> None:
        """Call a part of ours; a fault in it is told and goes no further."""
        try:
            part(*arguments)
        except Exception as fault:  # noqa: BLE001 -- as above
            self._tell_fault(fault)

    def _tell_fault(self, fault: Exception, line: str = "a fault in gradvitals, training goes on without it") -> None:
        """Each line once, and each fault once."""
        with suppress(Exception):  # telling may be what has failed
            if line not in self._faults_told:
                self._faults_told.add(line)
                self._announcer.say_once(repr(fault), f"{line}: {fault!r}")

    def _abandon(self) -> None:
        """In a forked child: clip, but send and print nothing, and let another run watch the optimizers."""
        self._announcer.enabled = False
        self._sender = self._hand_over = None
        for monitor in self._monitors.values():
            monitor.stop_recording()


def _merged(before: LoggedValues | None, logged: LoggedValues) -> LoggedValues | None:
    """What was logged before, and now; None where that is nothing."""
    if before is None:
        return logged or None
    before.merge(logged)
    return before


def _unsent_copy(declaration: RunDeclaration, attempt: Attempt, first_step: int) -> Run:
    """A run that sends and prints nothing, as one that is disabled."""
    silence = Announcer(enabled=False)
    return Run(declaration, attempt, first_step=first_step, announcer=silence, sender=None, route=OfflineRoute())


def close_open_runs(state: str, exception: str | None, timeout_seconds: float) -> None:
    """Finish every run that is still open, as the interpreter does at its end; all of them within one timeout."""
    deadline = time.monotonic() + timeout_seconds
    runs = list(_open_runs)
    for run in runs:  # all of them before any wait, since one may hang
        run._guarded(run._end, state, exception)
    for run in runs:
        run._guarded(run._wait, max(deadline - time.monotonic(), 0.0))


def _abandon_open_runs() -> None:
    for run in list(_open_runs):
        run._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_open_runs)
