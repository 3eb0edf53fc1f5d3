"""Notice NaN and infinity in the gradient.

There is nothing to estimate: a norm is finite or it is not. What needs judgement is whether anybody should get up. A
GradScaler looks for its scale by overflowing now and then, and skips those steps: that is information. Twenty skipped
steps in a row are not a search any more, and a non-finite gradient that was not skipped has reached the weights.
"""

import math
import struct
from typing import Final

import numpy as np

from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode
from gradvitals_service.health.detectors.interface import EventUpdate, Frames, FrameView, Severity, Told
from gradvitals_service.health.detectors.reopening import Reopening
from gradvitals_service.health.detectors.weights import Weights

KIND: Final = "non_finite"

SKIPPED_IN_A_ROW = 20
"""A GradScaler halves its scale at each overflow: twenty halvings are a factor of a million, so a search that is
longer has a cause other than the scale."""

CALM_FRAMES = 20
"""Finite frames before the event resolves; shorter pauses belong to one scaler's search, or one broken input's
return."""

REOPEN_FRAMES = CALM_FRAMES
"""Frames after its end in which the event may come back: as long again, so that a guard which skips a broken input now
and then pages once; a second cause further on is told as such."""

WEIGHTS_FRAMES = 64
"""How long it waits besides, where such a gradient was applied, for the weights to be measured: they are every 64
frames. Where they never were, as those of sharded layers, nobody waits."""


class NonFiniteDetector:
    """From the first non-finite global norm until ``CALM_FRAMES`` finite ones, and until the weights are known."""

    def __init__(self) -> None:
        self.episode: Episode | None = None
        self._reopening = Reopening(REOPEN_FRAMES)
        self._calm = 0
        self._bad = 0
        self._skipped_in_a_row = 0
        self.weights = Weights()

    def seam(self) -> None:
        """A new attempt begins, with weights of its own: an event goes on into it, and ends there."""
        self.weights.forget()
        self._reopening.seam(self.episode)

    def observe(self, frames: Frames) -> Told:
        """Look at a block of frames, in order."""
        norms = frames.global_norm.tolist()
        self.weights.begin_block(frames)
        # In double precision a sum of single ones is finite exactly if each of them is.
        if self.episode is None and math.isfinite(sum(norms)):
            self._pass_finite(len(frames))
            self.weights.pass_finite()
            return []
        told = []
        for row, norm in enumerate(norms):
            news = self.weights.measure(row) and self.episode is not None
            finite = math.isfinite(norm)
            update = self._observe_finite(frames.first + row) if finite else self._observe_bad(frames.view(row), row)
            if update is None and news:
                update = self._tell_weights()
            if update is not None:
                told.append((row, update))
        return told

    def _pass_finite(self, count: int) -> None:
        """As ``_observe_finite`` so many times while no event is open."""
        if count:
            self._skipped_in_a_row = 0
            self._calm = min(self._calm + count, CALM_FRAMES + WEIGHTS_FRAMES)

    def _observe_bad(self, frame: FrameView, row: int) -> EventUpdate | None:
        self._calm = 0
        if not frame.skipped:
            self.weights.suspect(row)
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if frame.skipped else 0
        harmless = frame.skipped and self._skipped_in_a_row < SKIPPED_IN_A_ROW
        severity: Severity = "info" if harmless else "critical"
        if self.episode is None:
            fresh = Episode(frame.index, frame.step, frame.step, severity, _broken_groups(frame))
            self.episode = self._reopening.open(fresh)
            self._bad = self._bad + 1 if self.episode.returns else 1
            return self._tell(frame)
        self._bad += 1
        self.episode.last_step = frame.step
        return self._tell(frame) if self.episode.raise_severity(severity) else None

    def _observe_finite(self, index: int) -> EventUpdate | None:
        self._skipped_in_a_row = 0
        self._calm = min(self._calm + 1, CALM_FRAMES + WEIGHTS_FRAMES)
        if self.episode is None or self._calm < CALM_FRAMES + (WEIGHTS_FRAMES if self.weights.suspected else 0):
            return None
        if self.weights.finite is False:  # a healthy gradient does not heal what no layer looks at
            return None
        update = self.episode.update(KIND, "resolved", f"the gradient is finite again after {self._bad_steps()}")
        self._reopening.resolve(self.episode, index)
        self.episode = None
        return update

    def _tell_weights(self) -> EventUpdate:
        assert self.episode is not None
        are = "are finite" if self.weights.finite else "are not finite any more"
        return self.episode.update(
            KIND, "open", f"the gradient was not finite in {self._bad_steps()}; the weights {are}"
        )

    def _bad_steps(self) -> str:
        return "1 bad step" if self._bad == 1 else f"{self._bad} bad steps"

    def _tell(self, frame: FrameView) -> EventUpdate:
        episode = self.episode
        assert episode is not None
        broken, of = len(episode.groups), len(frame.group_norms)
        where = f" in {broken} of {of} layers" if broken else ""
        if not frame.skipped:
            message = f"the gradient is not finite{where}, and the step was not skipped"
        elif self._skipped_in_a_row < SKIPPED_IN_A_ROW:
            message = f"the gradient overflowed{where} and the step was skipped, as loss scalers do"
        else:
            message = f"the gradient was not finite{where}, and {SKIPPED_IN_A_ROW} steps in a row were skipped"
        return episode.update(KIND, "open", message)

    def pack(self) -> bytes:
        numbers = struct.pack("<III", self._calm, self._bad, self._skipped_in_a_row)
        return numbers + self.weights.pack() + self._reopening.pack() + pack_episode(self.episode)

    def unpack(self, data: bytes, offset: int) -> int:
        self._calm, self._bad, self._skipped_in_a_row = struct.unpack_from("<III", data, offset)
        offset = self.weights.unpack(data, offset + 12)
        self.episode, offset = unpack_episode(data, self._reopening.unpack(data, offset))
        return offset


def _broken_groups(frame: FrameView) -> tuple[int, ...]:
    """The groups whose norm is not finite; none where only the global norm overflowed."""
    return tuple(np.flatnonzero(~np.isfinite(frame.group_norms)).tolist())
