"""All detectors of one stream behind one interface, and their state as bytes."""

import itertools
import struct
from collections.abc import Iterator
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike

from gradvitals_service.health.detectors.explosion import ExplosionDetector
from gradvitals_service.health.detectors.interface import FLAG_SEAM, EventUpdate, Frames
from gradvitals_service.health.detectors.non_finite import NonFiniteDetector
from gradvitals_service.health.detectors.vanishing import VanishingDetector

DETECTOR_VERSION = 2

_STATE_FORMAT = 2
_HEAD = struct.Struct("<4sHI")
_MAGIC = b"gvds"


class Detectors:
    """The judgement of one (run, rank, monitor): feed it every frame in order, hear what changed.

    At most 64 bytes of state a group and 4 KiB besides. ``trainable`` is false for groups that are frozen on purpose.
    """

    def __init__(self, group_count: int, trainable: ArrayLike | None = None) -> None:
        self.group_count = group_count
        self._non_finite = NonFiniteDetector()
        self._explosion = ExplosionDetector()
        self._vanishing = VanishingDetector(group_count, self._mask(trainable))

    def _mask(self, trainable: ArrayLike | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        mask = np.ones(self.group_count, np.bool_) if trainable is None else np.array(trainable, np.bool_)
        if mask.shape != (self.group_count,):
            raise ValueError(f"trainable must have one entry for each of {self.group_count} groups, not {mask.shape}")
        return mask

    def set_trainable(self, trainable: ArrayLike) -> None:
        """Say from the next frame on which groups are trained; a frozen group is never vanishing."""
        self._vanishing.trainable = self._mask(trainable)

    def observe(self, frames: Frames) -> list[EventUpdate]:
        """Judge a block of frames; the newest word on each event that opened, changed or resolved, oldest event
        first."""
        if frames.group_norms.shape != (len(frames), self.group_count):
            raise ValueError(
                f"group_norms must have the shape ({len(frames)}, {self.group_count}), not {frames.group_norms.shape}"
            )
        newest: dict[tuple[str, int], EventUpdate] = {}
        for part in self._parts_at_seams(frames):
            for update in self._updates(part):
                newest[update.kind, update.start_frame] = update
        return list(newest.values())

    def _parts_at_seams(self, frames: Frames) -> Iterator[Frames]:
        """The parts of a block, each of which begins an attempt or goes on with one; a seam is told before its part."""
        seams = [row for row, flags in enumerate(frames.flags.tolist()) if flags & FLAG_SEAM]
        if not seams:
            yield frames
            return
        for start, stop in itertools.pairwise(sorted({0, *seams, len(frames)})):
            if start in seams:
                self.seam()
            yield frames.rows(start, stop)

    def _updates(self, frames: Frames) -> Iterator[EventUpdate]:
        """What each detector says, in the order of the frames."""
        told = self._non_finite.observe(frames)
        exploded, exploding = self._explosion.observe(frames)
        told += exploded
        told += self._vanishing.observe(frames, exploding)
        return (update for _, update in sorted(told, key=itemgetter(0)))  # stable: one order within a frame

    def seam(self) -> None:
        """A new attempt of the same run and rank: what is usual is kept, a jump is expected."""
        self._explosion.seam()
        self._vanishing.seam()

    def to_bytes(self) -> bytes:
        """The whole state; ``from_bytes`` continues from it bit for bit."""
        return b"".join(
            (
                _HEAD.pack(_MAGIC, _STATE_FORMAT, self.group_count),
                self._vanishing.trainable.tobytes(),
                self._non_finite.pack(),
                self._explosion.pack(),
                self._vanishing.pack(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Detectors":
        """Restore ``to_bytes``; raises ValueError for anything that this version did not write."""
        if len(data) < _HEAD.size:
            raise ValueError("the detector state is too short to be one")
        magic, state_format, group_count = _HEAD.unpack_from(data)
        if magic != _MAGIC or state_format != _STATE_FORMAT:
            raise ValueError(f"the detector state is not of format {_STATE_FORMAT}, so it must be rebuilt from frames")
        try:
            detectors = cls(group_count, np.frombuffer(data, np.bool_, group_count, _HEAD.size))
            offset = detectors._non_finite.unpack(data, _HEAD.size + group_count)
            offset = detectors._explosion.unpack(data, offset)
            offset = detectors._vanishing.unpack(data, offset)
        except (struct.error, ValueError, IndexError) as error:
            raise ValueError(f"the detector state is damaged: {error}") from error
        if offset != len(data):
            raise ValueError(f"the detector state has {len(data)} bytes where {offset} were expected")
        return detectors
