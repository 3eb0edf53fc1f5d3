"""Know which groups go without gradient now and then, so that a habit is not taken for a death.

Rare embeddings, heads that are trained in turn and experts that the router passes over get exactly zero for some time
and come back. Counted in blocks of frames, as their caller counts.
"""

import math

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors.state import one_more, pack_arrays, unpack_arrays

PATIENCE = 4
"""A group that got nothing at all for some time, and came back, must stay away this many times longer than ever
before."""

PAUSE_ONCE_IN = math.log(1e6)
"""How rare a pause must be, given the share of frames on which the group usually gets gradient (one in a million)."""

LONE_PAUSE_BLOCKS = 20
"""Blocks (160 frames) that a group must be without while one before it gets gradient: what dies silences all that comes
before it, whereas an expert or a branch that rests does so alone."""

HIT_MEMORY = 32.0
"""Blocks over which it is averaged how often a group gets gradient."""


class Pauses:
    """For each group, how often it gets gradient, how long it has been without, and how long it once was."""

    def __init__(self, group_count: int, block_frames: int) -> None:
        self._block_frames = block_frames
        self._hits = np.zeros(group_count, np.uint8)  # frames of this block with gradient
        self._hit_rate = np.zeros(group_count, np.float32)  # usual share of frames with gradient
        self._now = np.zeros(group_count, np.uint16)  # blocks in a row without any gradient
        self._longest = np.zeros(group_count, np.uint16)  # longest such pause that the group came back from

    def begin_block(self) -> None:
        self._hits.fill(0)

    @property
    def hits(self) -> NDArray[np.uint8]:
        """Frames of the block that is being filled in which each group got gradient."""
        return self._hits

    def push(self, group_norms: NDArray[np.float32]) -> None:
        """Count finite frames [n, G]."""
        if group_norms.min(initial=1.0) > 0.0:
            self._hits += np.uint8(len(group_norms))
        else:
            self._hits += np.sum(group_norms > 0.0, axis=0, dtype=np.uint8)

    def any_returns(self, alive: NDArray[np.bool_], gets_some: NDArray[np.bool_]) -> bool:
        """Whether a pause ends with a block like this."""
        if not np.count_nonzero(self._now):
            return False
        return bool((gets_some & alive & (self._now > 0)).any())

    def pass_calm(self, hits: NDArray[np.uint8], alive: NDArray[np.bool_], gets_some: NDArray[np.bool_]) -> None:
        """As ``count`` and ``learn`` for blocks [B, G] of one pattern, which end no pause, far from the start."""
        silent = alive & ~gets_some
        if np.count_nonzero(silent):
            longer = np.minimum(self._now, 65_535 - len(hits)) + np.uint16(len(hits))
            np.multiply(longer, silent, out=self._now)
        else:
            self._now.fill(0)
        shares = hits / np.float32(self._block_frames)
        if not np.count_nonzero((shares != self._hit_rate) & alive):
            return  # a rate that is met moves nowhere
        weight = np.float32(1.0 / HIT_MEMORY)
        rate = self._hit_rate.copy()
        for share in shares:
            rate += (share - rate) * weight
        self._hit_rate[:] = np.where(alive, rate, self._hit_rate)

    def count(self, alive: NDArray[np.bool_], gets_some: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Close a block for the groups that are ``alive``; the pauses of frozen and of dead groups are no habit. Says
        which groups came back with it."""
        returned = gets_some & alive & (self._now > 0)
        self._longest[returned] = np.maximum(self._longest, self._now)[returned]
        self._now[:] = np.where(gets_some | ~alive, np.uint16(0), one_more(self._now))
        return returned

    def learn(self, alive: NDArray[np.bool_], blocks: int) -> None:
        """Take a block that is no trouble into the habit, as the ``blocks``-th."""
        weight = np.float32(1.0 / min(float(blocks), HIT_MEMORY))
        moved = self._hit_rate + (self._hits / np.float32(self._block_frames) - self._hit_rate) * weight
        self._hit_rate[:] = np.where(alive, moved, self._hit_rate)

    def expect_gradient(self, groups: NDArray[np.bool_]) -> None:
        """These groups ought to get gradient on every frame, though they never did."""
        self._hit_rate[groups] = 1.0

    def beyond_habit(self, alive: NDArray[np.bool_], blocks: int) -> NDArray[np.bool_]:
        """True for groups that get some gradient, or have been without for longer than is known of them.

        With k frames with gradient in the m blocks that are remembered, a pause of p blocks has the chance
        (m / (m + p)) ** k: where few have been seen, their rate is not known well.
        """
        pause, known = self._now.astype(np.int64), min(float(blocks), HIT_MEMORY)
        hits = self._hit_rate.astype(np.float64) * known * self._block_frames
        unlikely = hits * np.log1p(pause / known) > PAUSE_ONCE_IN
        longer = pause >= PATIENCE * self._longest.astype(np.int64)
        alone = ~np.logical_and.accumulate((pause > 0) | ~alive)
        longer &= ~alone | (pause >= LONE_PAUSE_BLOCKS)
        beyond: NDArray[np.bool_] = np.logical_or(pause == 0, np.logical_and(unlikely, longer))
        return beyond

    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        return self._hits, self._hit_rate, self._now, self._longest

    def pack(self) -> bytes:
        return pack_arrays(self._arrays())

    def unpack(self, data: bytes, offset: int) -> int:
        return unpack_arrays(self._arrays(), data, offset)
