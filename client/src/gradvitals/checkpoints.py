"""Know which of a run's checkpoints are clean, and which one a rotation must spare. No file is ever opened.

A checkpoint's step is the number of steps that it holds: saved when ``run.step`` is k, it has the effect of the steps
below k and no other. It is clean when none of those was made with a gradient that was not finite: a NaN that reached
the weights never leaves them. Steps are read from a device some time after they were made, so that a checkpoint may be
neither clean nor spoiled at first.

``Checkpoints`` belongs to the thread that trains; ``CheckpointOutbox`` is shared with the sender's, and has a lock.
"""

from __future__ import annotations

import operator
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gradvitals.errors import ConfigurationError
from gradvitals.frames import wire_text

MOST_CHECKPOINTS = 1_000  # remembered, and waiting to be told: the newest
MOST_A_REQUEST = 100
PATH_CHARACTERS = 4_096


class Watched(Protocol):
    """What is asked of a monitor."""

    step: int  # of the coming one

    @property
    def last(self) -> dict[str, Any] | None:
        """The newest frame that was read."""

    @property
    def spoiled_at(self) -> int | None:
        """The first step that was made with a gradient that was not finite, as far as was read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far one monitor is, and what is known of its steps."""

    step: int  # the number of the coming one, so how many were made
    newest: int | None  # the newest one that was read; all before it were read too
    spoiled_at: int | None  # the first one that was made with a gradient that was not finite


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint, and whether it is clean as far as is known."""

    path: str
    step: int
    steps: dict[str, int]  # how many steps of each monitor it holds, since each counts its own
    saved_at: float
    clean: bool | None = None

    def body(self) -> dict[str, Any]:
        """As the service is told it."""
        return {
            "path": self.path,
            "step": self.step,
            "steps": self.steps,
            "saved_at": self.saved_at,
            "clean": self.clean,
        }

    def judge(self, seen: Mapping[str, Seen]) -> bool | None:
        """Whether it is clean by what is known now; None where a step that it holds was not read yet."""
        verdicts = [_judge(steps, seen.get(name)) for name, steps in self.steps.items()]
        if False in verdicts:
            return False
        return None if None in verdicts or not verdicts else True


class Checkpoints:
    """The checkpoints of one attempt at a run. ``tell`` hears of each change: a path, and None when it is deleted."""

    def __init__(self, tell: Callable[[str, Checkpoint | None], None], clock: Callable[[], float] = time.time) -> None:
        self._tell = tell
        self._clock = clock
        self._known: dict[str, Checkpoint] = {}

    def saved(self, step: int, path: str | os.PathLike[str], seen: Mapping[str, Seen]) -> str | None:
        """Take a checkpoint that was just saved; a remark where its step had to be another one.

        The monitor that was watched first counts the steps. Raises TypeError or ConfigurationError for a mistake.
        """
        place = place_of(path)
        said = operator.index(step)
        if said < 0:
            raise ConfigurationError(f"step is {said}, expected run.step, which is never below 0")
        steps = {name: monitor.step for name, monitor in seen.items()}
        step, remark = said, None
        if steps:
            main = next(iter(steps))
            steps[main] = step = _steps_held(said, steps[main])
            if said > step:
                remark = f"run.saved({said}): the run has made {step} steps, so {step} is kept; pass run.step"
        self._known.pop(place, None)  # what lay there is no more, and this one is the newest
        self._known[place] = checkpoint = Checkpoint(place, step, steps, self._clock())
        if len(self._known) > MOST_CHECKPOINTS:
            del self._known[next(iter(self._known))]
        self._tell(place, checkpoint)
        self._look(seen)
        return remark

    def may_delete(self, path: str | os.PathLike[str], seen: Mapping[str, Seen], held: str | None = None) -> bool:
        """Whether ``path`` can be spared; what may be deleted is forgotten. ``held`` is the service's newest clean one.

        Kept is the newest clean one, or, while none is known to be clean, the newest that may turn out so. Where all
        are spoiled, a path that was never told of may be the last good one, and is kept too.
        """
        place = place_of(path)
        self._look(seen)
        spared = self._newest(True) or self._newest(None)
        if place == held or (spared is not None and place == spared.path):
            return False
        if spared is None and self._known and place not in self._known:
            return False
        self._known.pop(place, None)
        self._tell(place, None)
        return True

    def _newest(self, clean: bool | None) -> Checkpoint | None:
        return next((known for known in reversed(self._known.values()) if known.clean is clean), None)

    def _look(self, seen: Mapping[str, Seen]) -> None:
        """Judge what was not judged yet; a verdict is final."""
        for place, checkpoint in self._known.items():
            if checkpoint.clean is None and (clean := checkpoint.judge(seen)) is not None:
                self._known[place] = checkpoint = replace(checkpoint, clean=clean)
                self._tell(place, checkpoint)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request tells; a path with None was deleted."""

    words: dict[str, Checkpoint | None]

    def body(self, attempt_id: str) -> dict[str, Any]:
        """The body of the request."""
        saved = [word.body() for word in self.words.values() if word is not None]
        deleted = [path for path, word in self.words.items() if word is None]
        return {"attempt_id": attempt_id, "saved": saved, "deleted": deleted}


class CheckpointOutbox:
    """What the service has yet to hear of checkpoints, the newest word about each path, and what it answered.

    ``asks`` has it asked for its newest clean one before anything is told, as after a resume.
    """

    def __init__(self, *, asks: bool) -> None:
        self.newest_clean: str | None = None  # the service's answer
        self._asks = asks
        self._used = asks
        self._words: dict[str, Checkpoint | None] = {}
        self._lock = threading.RLock()  # reentrant, since a signal handler may save a checkpoint

    def add(self, path: str, word: Checkpoint | None) -> None:
        """Have something told; the oldest is dropped where too much waits."""
        with self._lock:
            self._used = True
            self._words.pop(path, None)
            self._words[path] = word
            if len(self._words) > MOST_CHECKPOINTS:
                del self._words[next(iter(self._words))]

    def ask(self) -> None:
        """Have the service asked anew: something happened that its answer may depend on."""
        self._asks = self._used

    def take(self) -> Batch | None:
        """The oldest of what waits, which goes on waiting; None where there is nothing to tell or to ask."""
        with self._lock:
            if not self._words and not self._asks:
                return None
            return Batch(dict(list(self._words.items())[:MOST_A_REQUEST]))

    def waiting(self) -> Batch:
        """All of what waits, for somebody else to tell."""
        with self._lock:
            return Batch(dict(self._words))

    def acknowledge(self, batch: Batch, newest_clean: str | None) -> None:
        """The service has heard it, and answered."""
        self.forget(batch)
        self.newest_clean = newest_clean

    def forget(self, batch: Batch) -> None:
        """Let go of what was told, or never will be, unless there is a newer word by now."""
        self._asks = False
        with self._lock:
            for path, word in batch.words.items():
                if path in self._words and self._words[path] is word:
                    del self._words[path]

    @property
    def waits(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._words)


def look_at(monitors: Mapping[str, Watched]) -> dict[str, Seen]:
    """What is known of the steps of each monitor."""
    return {name: _look_at(monitor) for name, monitor in monitors.items()}


def place_of(path: str | os.PathLike[str]) -> str:
    """A path as it is known here and told: absolute, so that it means the same to whoever reads it elsewhere."""
    text = os.fsdecode(os.fspath(path))
    if not text:
        raise ConfigurationError("path is empty, expected where the checkpoint lies")
    place = wire_text(text.rstrip("/") if "://" in text else os.path.abspath(text))
    if len(place) > PATH_CHARACTERS:
        raise ConfigurationError(f"path has {len(place)} characters, at most {PATH_CHARACTERS} are kept")
    return place


def _steps_held(said: int, made: int) -> int:
    """How many steps a checkpoint holds that is said to be of step ``said``, ``made`` steps into the run.

    One below is taken for the index of a loop whose step was just made: to hold one step too many is the careful
    reading. What is further back was saved earlier, and taken at its word.
    """
    return made if said >= made - 1 else said


def _look_at(monitor: Watched) -> Seen:
    newest = monitor.last
    return Seen(monitor.step, None if newest is None else newest["step"], monitor.spoiled_at)


def _judge(steps: int, seen: Seen | None) -> bool | None:
    if seen is None:
        return None
    if seen.spoiled_at is not None and seen.spoiled_at < steps:
        return False
    return True if seen.newest is not None and seen.newest >= steps - 1 else None
