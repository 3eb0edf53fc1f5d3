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


class NonFiniteDetector:
    """From the first non-finite global norm until ``CALM_FRAMES`` finite ones."""

    def __init__(self) -> None:
        self.episode: Episode | None = None
        self._reopening = Reopening(REOPEN_FRAMES)
        self._calm = 0
        self._bad = 0
        self._skipped_in_a_row = 0

    def seam(self) -> None:
        """A new attempt begins: an event goes on into it, and ends there."""
        self._reopening.seam(self.episode)

    def observe(self, frames: Frames) -> Told:
        """Look at a block of frames, in order."""
        norms = frames.global_norm.tolist()
        # In double precision a sum of single ones is finite exactly if each of them is.
        if self.episode is None and math.isfinite(sum(norms)):
            self._pass_finite(len(frames))
            return []
        told = []
        for row, norm in enumerate(norms):
            finite = math.isfinite(norm)
            update = self._observe_finite(frames.first + row) if finite else self._observe_bad(frames.view(row))
            if update is not None:
                told.append((row, update))
        return told

    def _pass_finite(self, count: int) -> None:
        """As ``_observe_finite`` so many times while no event is open."""
        if count:
            self._skipped_in_a_row = 0
            self._calm = min(self._calm + count, CALM_FRAMES)

    def _observe_bad(self, frame: FrameView) -> EventUpdate | None:
        self._calm = 0
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
        self._calm = min(self._calm + 1, CALM_FRAMES)
        if self.episode is None or self._calm < CALM_FRAMES:
            return None
        steps = "1 bad step" if self._bad == 1 else f"{self._bad} bad steps"
        update = self.episode.update(KIND, "resolved", f"the gradient is finite again after {steps}")
        self._reopening.resolve(self.episode, index)
        self.episode = None
        return update

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
        return numbers + self._reopening.pack() + pack_episode(self.episode)

    def unpack(self, data: bytes, offset: int) -> int:
        self._calm, self._bad, self._skipped_in_a_row = struct.unpack_from("<III", data, offset)
        self.episode, offset = unpack_episode(data, self._reopening.unpack(data, offset + 12))
        return offset


def _broken_groups(frame: FrameView) -> tuple[int, ...]:
    """The groups whose norm is not finite; none where only the global norm overflowed."""
    return tuple(np.flatnonzero(~np.isfinite(frame.group_norms)).tolist())
