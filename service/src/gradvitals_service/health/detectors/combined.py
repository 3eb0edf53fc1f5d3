"""All detectors of one stream behind one interface, and their state as bytes."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import compress, pairwise
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradvitals_service.health.detectors.episode import Episode
from gradvitals_service.health.detectors.explosion import ExplosionDetector
from gradvitals_service.health.detectors.instability import InstabilityDetector
from gradvitals_service.health.detectors.interface import FLAG_SEAM, EventUpdate, Frames, Kind
from gradvitals_service.health.detectors.non_finite import NonFiniteDetector
from gradvitals_service.health.detectors.options import KINDS, NORMAL, SENSITIVITIES, Options, Sensitivity
from gradvitals_service.health.detectors.saturation import ClipSaturationDetector
from gradvitals_service.health.detectors.vanishing import VanishingDetector

DETECTOR_VERSION = 2

_STATE_FORMAT = 2
_HEAD = struct.Struct("<4sHIBB")
_MAGIC = b"gvds"
_TRAINABLE, _IGNORED = 1, 2  # of a group

_TOLD_FROM = struct.Struct("<32sq")
_NEVER = 2**63 - 1

Mask = NDArray[np.bool_]


class Detectors:
    """The judgement of one (run, rank, monitor): feed it every frame in order, hear what changed.

    At most 64 bytes of state a group and 4 KiB besides. ``trainable`` is false for groups that are frozen on purpose,
    ``ignored`` true for those that a project leaves out.
    """

    def __init__(
        self,
        group_count: int,
        trainable: ArrayLike | None = None,
        options: Options = NORMAL,
        ignored: ArrayLike | None = None,
    ) -> None:
        self.group_count = group_count
        self._trainable = self._mask("trainable", trainable, absent=True)
        self._ignored = self._mask("ignored", None, absent=False)
        self._sensitivity: Sensitivity = "normal"
        self._told_from: dict[Kind, int] = {}  # the first frame at which an event is told if it begins there
        self._non_finite = NonFiniteDetector()
        self._explosion = ExplosionDetector()
        self._vanishing = VanishingDetector(group_count, self._trainable)
        self._saturation = ClipSaturationDetector()
        self._instability = InstabilityDetector()
        self.follow(options, ignored, 0)

    def _mask(self, name: str, given: ArrayLike | None, *, absent: bool) -> Mask:
        mask = np.full(self.group_count, absent) if given is None else np.array(given, np.bool_)
        if mask.shape != (self.group_count,):
            raise ValueError(f"{name} must have one entry for each of {self.group_count} groups, not {mask.shape}")
        return mask

    def set_trainable(self, trainable: ArrayLike) -> None:
        """Say from the next frame on which groups are trained; a frozen group is never vanishing."""
        self._trainable = self._mask("trainable", trainable, absent=True)
        self._apply()

    def follow(self, options: Options, ignored: ArrayLike | None, frame: int) -> bool:
        """Judge as ``options`` say from ``frame`` on, the next one; says whether that is another way than before.

        The names that they ignore are given as groups, since none is known here. A kind that is turned on again tells
        of what begins after that.
        """
        off = self._off()
        kept = {kind: first for kind, first in self._told_from.items() if kind not in off | options.off}
        turned_on = dict.fromkeys(off - options.off, frame) if frame else {}
        told_from = kept | turned_on | dict.fromkeys(options.off, _NEVER)
        mask = self._mask("ignored", ignored, absent=False)
        before = (self._sensitivity, self._told_from, self._ignored.tobytes())
        self._sensitivity, self._told_from, self._ignored = options.sensitivity, told_from, mask
        self._apply()
        return before != (self._sensitivity, told_from, mask.tobytes())

    def _off(self) -> frozenset[Kind]:
        return frozenset(kind for kind, first in self._told_from.items() if first == _NEVER)

    def _apply(self) -> None:
        """Hand each detector what it needs of this."""
        self._explosion.distance = self._vanishing.distance = Options(self._sensitivity).distance
        self._vanishing.trainable = self._trainable & ~self._ignored

    def observe(self, frames: Frames) -> list[EventUpdate]:
        """Judge a block of frames; the newest word on each event that opened, changed or resolved, oldest event
        first."""
        if frames.group_norms.shape != (len(frames), self.group_count):
            raise ValueError(
                f"group_norms must have the shape ({len(frames)}, {self.group_count}), not {frames.group_norms.shape}"
            )
        newest: dict[tuple[Kind, int], EventUpdate] = {}
        for part in self._parts_at_seams(frames):
            for update in filter(self._is_told, self._updates(part)):
                newest[update.kind, update.start_frame] = update
        return [self._without_ignored(update) for update in newest.values()]

    def _is_told(self, update: EventUpdate) -> bool:
        return update.start_frame >= self._told_from.get(update.kind, 0)

    def _without_ignored(self, update: EventUpdate) -> EventUpdate:
        """Nobody wants to hear the names of groups that are left out."""
        heeded = [not self._ignored[group] for group in update.groups]
        if all(heeded):
            return update
        groups, shares = tuple(compress(update.groups, heeded)), tuple(compress(update.shares, heeded))
        return replace(update, groups=groups, shares=shares)

    def _parts_at_seams(self, frames: Frames) -> Iterator[Frames]:
        """The parts of a block, each of which begins an attempt or goes on with one; a seam is told before its part."""
        seams = [row for row, flags in enumerate(frames.flags.tolist()) if flags & FLAG_SEAM]
        if not seams:
            yield frames
            return
        for start, stop in pairwise(sorted({0, *seams, len(frames)})):
            if start in seams:
                self.seam()
            yield frames.rows(start, stop)

    def _updates(self, frames: Frames) -> Iterator[EventUpdate]:
        """What each detector says, in the order of the frames."""
        told = self._non_finite.observe(frames)
        exploded, exploding = self._explosion.observe(frames)
        told += exploded
        told += self._vanishing.observe(frames, exploding)
        told += self._saturation.observe(frames)
        told += self._instability.observe(frames, exploding)
        weights = self._non_finite.weights
        for row, update in sorted(told, key=itemgetter(0)):  # stable: one order within a frame
            yield replace(update, weights_finite=weights.at(row))

    @property
    def open_kinds(self) -> set[Kind]:
        """The kinds of which an event goes on."""
        episodes: dict[Kind, Episode | None] = {
            "non_finite": self._non_finite.episode,
            "explosion": self._explosion.episode,
            "vanishing": self._vanishing.episode,
            "clip_saturation": self._saturation.episode,
            "instability": self._instability.episode,
        }
        return {kind for kind, episode in episodes.items() if episode is not None}

    def seam(self) -> None:
        """A new attempt of the same run and rank: what is usual is kept, a jump is expected."""
        self._told_from = dict.fromkeys(self._off(), _NEVER)  # its frames are counted anew
        for detector in (self._non_finite, self._explosion, self._vanishing, self._saturation, self._instability):
            detector.seam()

    def to_bytes(self) -> bytes:
        """The whole state; ``from_bytes`` continues from it bit for bit."""
        told_from = sorted(self._told_from.items())
        head = (_MAGIC, _STATE_FORMAT, self.group_count, SENSITIVITIES.index(self._sensitivity), len(told_from))
        groups = _TRAINABLE * self._trainable.astype(np.uint8) + _IGNORED * self._ignored.astype(np.uint8)
        return b"".join(
            (
                _HEAD.pack(*head),
                *(_TOLD_FROM.pack(kind.encode(), first) for kind, first in told_from),
                groups.tobytes(),
                self._non_finite.pack(),
                self._explosion.pack(),
                self._vanishing.pack(),
                self._saturation.pack(),
                self._instability.pack(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Detectors":
        """Restore ``to_bytes``; raises ValueError for anything that this version did not write."""
        if len(data) < _HEAD.size:
            raise ValueError("the detector state is too short to be one")
        magic, state_format, group_count, sensitivity, kinds_told = _HEAD.unpack_from(data)
        if magic != _MAGIC or state_format != _STATE_FORMAT:
            raise ValueError(f"the detector state is not of format {_STATE_FORMAT}, so it must be rebuilt from frames")
        try:
            detectors, offset = cls(group_count), _HEAD.size
            for _ in range(kinds_told):
                name, first = _TOLD_FROM.unpack_from(data, offset)
                detectors._told_from[KINDS[KINDS.index(name.rstrip(b"\0").decode())]] = first
                offset += _TOLD_FROM.size
            groups = np.frombuffer(data, np.uint8, group_count, offset)
            detectors._sensitivity = SENSITIVITIES[sensitivity]
            detectors._trainable, detectors._ignored = (groups & _TRAINABLE) != 0, (groups & _IGNORED) != 0
            detectors._apply()
            offset = detectors._non_finite.unpack(data, offset + group_count)
            offset = detectors._explosion.unpack(data, offset)
            offset = detectors._vanishing.unpack(data, offset)
            offset = detectors._saturation.unpack(data, offset)
            offset = detectors._instability.unpack(data, offset)
        except (struct.error, ValueError, IndexError) as error:
            raise ValueError(f"the detector state is damaged: {error}") from error
        if offset != len(data):
            raise ValueError(f"the detector state has {len(data)} bytes where {offset} were expected")
        return detectors
