"""Notice that the clip threshold bites on nearly every step and hard, so that it has become the learning rate.

A healthy run may clip a tenth of its steps, or nearly all of them by a factor of two; some clip every step on purpose,
which is gradient descent with a normalised gradient. None of that is dangerous, so this never wakes anybody. It is
worth knowing, since where every step is cut to the same length, the threshold times the learning rate says how far a
step goes, and the gradient's own size says nothing any more. It is a warning only where the run itself shows that this
was not meant: under the very same threshold it used to go unclipped.
"""

import math
import struct
from bisect import bisect_left
from typing import Final

import numpy as np

from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode
from gradvitals_service.health.detectors.interface import EventUpdate, Frames, FrameView, Severity, Told
from gradvitals_service.health.detectors.level import RollingWindow
from gradvitals_service.health.detectors.reopening import Reopening

KIND: Final = "clip_saturation"

BLOCK_FRAMES: Final = 32
"""Frames that are counted together; the event opens and resolves at the end of a block."""

BLOCKS: Final = 16
WINDOW_FRAMES: Final = BLOCKS * BLOCK_FRAMES
"""What is judged: 512 frames, longer than the transient at the start of a run and than a burst of spikes."""

NEARLY_ALL = 0.95
"""Share of clipped steps from which on the threshold decides: at most one step in twenty goes by its own size."""

HARD = 0.1
"""Typical coefficient at or below which a step has lost nine tenths of its size. Runs that clip on purpose by a factor
of a few are common and train well."""

NO_MORE_THAN = 0.8
SOFTER = 0.2
"""Below this share of clipped steps, or above this typical coefficient, the event is over: a fifth of the steps, or
twice the size, so that a run at the limit does not come and go."""

FREE = 0.5
FREE_BLOCKS: Final = 8
"""A run that clipped less than half of its steps over 256 frames has shown what the threshold was meant for."""

ANOTHER = 2.0
"""A max_norm that is so many times larger or smaller is another threshold, which has to be judged anew; an adaptive one
that wanders by less, or one that is scheduled, is followed."""

OFF = float(np.finfo(np.float32).max)
"""Stands for the threshold of a run that clips no norm, which is infinite on the wire."""

REOPEN_FRAMES = WINDOW_FRAMES
"""Frames after its end in which the event may come back: so long the next judgement shares frames with the last."""

_NUMBERS = struct.Struct(f"<d?B{BLOCKS}B")


class ClipSaturationDetector:
    """How often and how hard the newest frames were clipped, and the event about it, if any."""

    def __init__(self) -> None:
        self.episode: Episode | None = None
        self._reopening = Reopening(REOPEN_FRAMES)
        self._max_norm = 0.0  # the threshold that is being judged, OFF at most
        self._block: list[float] = []  # coefficients of the block that is being filled
        self._clipped: list[int] = []  # clipped frames of the newest blocks
        self._typical = RollingWindow(BLOCKS)  # median coefficients of the same
        self._was_free = False

    def seam(self) -> None:
        """A new attempt begins: its own frames are awaited; the threshold, and what it once let through, are known."""
        self._forget()
        self._reopening.seam(self.episode)

    def observe(self, frames: Frames) -> Told:
        """Look at a block of frames, in order."""
        told: Told = []
        least, most = self._max_norm / ANOTHER, self._max_norm * ANOTHER
        for row, (max_norm, coefficient) in enumerate(
            zip(frames.max_norm.tolist(), frames.clip_coefficient.tolist(), strict=True)
        ):
            update = None
            max_norm = min(max_norm, OFF)
            if max_norm < least or max_norm > most:
                update = self._change_threshold(frames, row, max_norm)
                least, most = self._max_norm / ANOTHER, self._max_norm * ANOTHER
            if math.isfinite(coefficient):  # a gradient that is not finite has none
                self._block.append(coefficient)
                if len(self._block) == BLOCK_FRAMES:
                    update = self._judge_block(frames, row)
            if update is not None:
                told.append((row, update))
        return told

    def _change_threshold(self, frames: Frames, row: int, max_norm: float) -> EventUpdate | None:
        before, self._max_norm = self._max_norm, max_norm
        self._was_free = False
        self._forget()
        if self.episode is None:
            return None
        now = "off" if max_norm == OFF else f"{max_norm:.3g}"
        message = f"max_norm is {now} now instead of {before:.3g}, and what it clips is judged anew"
        return self._resolve(message, frames.first + row)

    def _forget(self) -> None:
        self._block.clear()
        self._clipped.clear()
        self._typical.clear()

    def _judge_block(self, frames: Frames, row: int) -> EventUpdate | None:
        self._block.sort()
        self._typical.push(self._block[(BLOCK_FRAMES - 1) // 2])
        self._clipped = [*self._clipped[1 - BLOCKS :], bisect_left(self._block, 1.0)]
        self._block.clear()
        newest = self._clipped[-FREE_BLOCKS:]
        if len(newest) == FREE_BLOCKS and sum(newest) < FREE * FREE_BLOCKS * BLOCK_FRAMES:
            self._was_free = True
        if not self._typical.full:
            return None
        rate, typical = sum(self._clipped) / WINDOW_FRAMES, self._typical.median
        if self.episode is not None:
            return self._follow(frames, row, rate, typical)
        return self._open(frames.view(row), rate, typical) if rate >= NEARLY_ALL and typical <= HARD else None

    def _open(self, frame: FrameView, rate: float, typical: float) -> EventUpdate:
        severity: Severity = "warning" if self._was_free else "info"
        strength = _strength(typical)
        self.episode = self._reopening.open(
            Episode(frame.index, frame.step, frame.step, severity, (), strength, told_peak=strength)
        )
        return self._tell(frame, rate, typical)

    def _follow(self, frames: Frames, row: int, rate: float, typical: float) -> EventUpdate | None:
        """Carry an open event on: told again when it clips twice as hard, or is over."""
        episode = self.episode
        assert episode is not None
        if rate < NO_MORE_THAN or typical > SOFTER:
            return self._resolve(f"the threshold has let go: it {_clips(rate, typical)}", frames.first + row, typical)
        episode.last_step = int(frames.step[row])
        doubled = episode.raise_peak(_strength(typical), episode.last_step)
        return self._tell(frames.view(row), rate, typical) if doubled else None

    def _tell(self, frame: FrameView, rate: float, typical: float) -> EventUpdate:
        assert self.episode is not None
        message = f"the threshold {_clips(rate, typical)}"
        if 0.0 < frame.lr < math.inf:
            message += f": with SGD the learning rate is in effect {frame.lr * typical:.2g} instead of {frame.lr:.2g}"
            message += " (Adam and its kin hardly notice)"
        if self._was_free:
            message += "; under the same max_norm this run once went mostly unclipped"
        return self.episode.update(KIND, "open", message, times_usual=typical)

    def _resolve(self, message: str, index: int, typical: float | None = None) -> EventUpdate:
        assert self.episode is not None
        update = self.episode.update(KIND, "resolved", message, times_usual=typical)
        self._reopening.resolve(self.episode, index)
        self.episode = None
        return update

    def pack(self) -> bytes:
        counts = self._clipped + [0] * (BLOCKS - len(self._clipped))
        numbers = _NUMBERS.pack(self._max_norm, self._was_free, len(self._block), *counts)
        block = np.array(self._block, "<f4").tobytes()
        return b"".join((numbers, block, self._typical.pack(), self._reopening.pack(), pack_episode(self.episode)))

    def unpack(self, data: bytes, offset: int) -> int:
        self._max_norm, self._was_free, in_block, *counts = _NUMBERS.unpack_from(data, offset)
        offset += _NUMBERS.size
        self._block = np.frombuffer(data, "<f4", in_block, offset).tolist()
        offset = self._typical.unpack(data, offset + 4 * in_block)
        self._clipped = counts[: len(self._typical)]
        self.episode, offset = unpack_episode(data, self._reopening.unpack(data, offset))
        return offset


def _clips(rate: float, typical: float) -> str:
    size = f", typically to {typical:.2g} of their size" if typical < 1.0 else ""
    return f"clips {rate:.0%} of the last {WINDOW_FRAMES} steps{size}"


def _strength(typical: float) -> float:
    """How many times smaller a typical step is made; bounded, since a max_norm of 0 leaves nothing."""
    return 1.0 / max(typical, 1e-30)
