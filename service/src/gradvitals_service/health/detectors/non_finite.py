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
from gradvitals_service.health.detectors.interface import EventUpdate, FrameView, Severity, Status

KIND: Final = "non_finite"

SKIPPED_IN_A_ROW = 20
"""A GradScaler halves its scale at each overflow: twenty halvings are a factor of a million, so a search that is
longer has a cause other than the scale."""

CALM_FRAMES = 20
"""Finite frames before the event resolves; shorter pauses belong to one scaler's search, or one broken input's
return."""


class NonFiniteDetector:
    """From the first non-finite global norm until ``CALM_FRAMES`` finite ones."""

    def __init__(self) -> None:
        self.episode: Episode | None = None
        self._calm = 0
        self._bad = 0
        self._skipped_in_a_row = 0

    def observe(self, frame: FrameView) -> EventUpdate | None:
        """Look at one frame, in order."""
        if math.isfinite(frame.global_norm):
            return self._observe_finite()
        self._calm = 0
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if frame.skipped else 0
        harmless = frame.skipped and self._skipped_in_a_row < SKIPPED_IN_A_ROW
        severity: Severity = "info" if harmless else "critical"
        if self.episode is None:
            self._bad = 1
            self.episode = Episode(
                frame.index,
                frame.step,
                frame.step,
                severity,
                math.nan,
                math.nan,
                math.nan,
                groups=_non_finite_groups(frame),
            )
            return self._tell("open")
        self._bad += 1
        self.episode.last_step = frame.step
        return self._tell("open") if self.episode.raise_severity(severity) else None

    def _observe_finite(self) -> EventUpdate | None:
        self._skipped_in_a_row = 0
        self._calm = min(self._calm + 1, CALM_FRAMES)
        if self.episode is None or self._calm < CALM_FRAMES:
            return None
        update = self._tell("resolved")
        self.episode = None
        return update

    def _tell(self, status: Status) -> EventUpdate:
        episode = self.episode
        assert episode is not None
        if status == "resolved":
            return episode.update(KIND, "resolved", f"the gradient is finite again after {_steps(self._bad)}")
        if episode.severity == "info":
            return episode.update(KIND, "open", "the gradient overflowed and the step was skipped, as loss scalers do")
        if self._skipped_in_a_row >= SKIPPED_IN_A_ROW:
            return episode.update(
                KIND,
                "open",
                f"the gradient was not finite and the step was skipped {self._skipped_in_a_row} times in a row",
            )
        where = f" in {len(episode.groups)} of the layers" if episode.groups else ""
        return episode.update(KIND, "open", f"the gradient is not finite{where}, and the step was not skipped")

    def pack(self) -> bytes:
        return struct.pack("<III", self._calm, self._bad, self._skipped_in_a_row) + pack_episode(self.episode)

    def unpack(self, data: bytes, offset: int) -> int:
        self._calm, self._bad, self._skipped_in_a_row = struct.unpack_from("<III", data, offset)
        self.episode, offset = unpack_episode(data, offset + 12)
        return offset


def _non_finite_groups(frame: FrameView) -> tuple[int, ...]:
    """The groups that broke; none when the norms of all of them are finite, or none is."""
    broken = np.flatnonzero(~np.isfinite(frame.group_norms))
    return tuple(broken.tolist())


def _steps(count: int) -> str:
    return "1 bad step" if count == 1 else f"{count} bad steps"
