"""Notice groups that stop receiving gradient while the rest of the network still gets some.

A falling norm is no trouble by itself: every converging run has it, in all groups at once. What counts is a fall below
the group's own past *and* below what the other groups fell, that lasts. Frames are judged eight at a time by the
largest norm among them, so that a group that gets gradient on some steps only (rare embeddings, heads trained in
turn, experts) looks alive; a group that is known to pause for longer is given longer.

A network that is dead from step 0 has no past to compare with. There the falling off across the network says it: a
third of the groups get less than a thousandth of what the strongest gets, from the first frames on, and the loss does
not move.
"""

import math
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode
from gradvitals_service.health.detectors.interface import EventUpdate, FrameView

KIND: Final = "vanishing"

BLOCK_FRAMES = 8
"""Frames judged together, by their largest norm."""

FALLEN = math.log(30.0)
"""A group has fallen when it gets less than a thirtieth of its usual gradient, beyond what all groups fell. Healthy
groups drift apart by a factor of ten within a few hundred frames, for instance after a layer is unfrozen."""

RECOVERED = math.log(10.0)
"""It has recovered when it gets more than a tenth again."""

QUIET_BLOCKS = 3
"""How many more blocks than not a group must be fallen, and how many in a row recovered: 24 frames. A saturated layer
still gets gradient from a lucky batch, so being fallen need not be unbroken."""

PATIENCE = 4
"""A group that got nothing at all for some time, and came back, must stay away this many times longer than ever
before."""

PAUSE_ONCE_IN = math.log(1e6)
"""How rare a pause must be, given the share of frames on which the group usually gets gradient (one in a million)."""

KNOWN_BLOCKS = 8
"""Blocks with gradient before a group has a past to fall from."""

REFERENCE_MEMORY = 64.0
"""Blocks over which a group's usual norm is averaged, so about 500 frames: a slower fall goes unnoticed."""

START_BLOCKS = 8
START_UNTIL = 32
"""From step 0: blocks to wait before judging (64 frames), and blocks after which the past is the better judge."""

START_SHARE = math.log(1e-3)
"""The share of the strongest group's norm below which a group gets nothing from the start. Healthy networks that
were measured stay above a hundredth."""

START_SHARE_WITHOUT_LOSS = math.log(1e-6)
"""The same where no loss is logged, so that nothing else speaks for trouble."""

COMING = math.log(5.0)
"""A share that has risen by this factor since the first block is on its way, as behind adapters and residual branches
that begin at zero: growing linearly they rise eightfold in as many blocks."""

START_GROUPS = 3
"""At least one group in this many must be below: a rare embedding alone is not a dead network."""

FLAT = 0.05
"""The loss has not moved when it has fallen by less than this share of its value; the last layer's bias alone can learn
how frequent the classes are, which is worth a few percent."""

HIT_MEMORY = 32.0
"""Blocks over which it is averaged how often a group gets gradient."""

LOSS_MEMORY = 4.0
"""Blocks over which the present loss is averaged."""

CRITICAL_BLOCKS = 16
"""Blocks (128 frames) after which vanishing of at least half of the groups is critical if the loss is no better than
before."""

ZERO = -100.0
"""Stands for the logarithm of a norm of zero; the smallest float32 has -103."""

_HEAD = struct.Struct("<IQIdddddI?")


class VanishingDetector:
    """What each group usually gets, which groups get nothing now, and the event about them, if any."""

    def __init__(self, group_count: int, trainable: NDArray[np.bool_]) -> None:
        self.episode: Episode | None = None
        self.trainable = trainable
        self._largest = np.zeros(group_count, np.float32)  # of the block that is being filled
        self._reference = np.zeros(group_count, np.float64)  # log of the usual norm
        self._known = np.zeros(group_count, np.uint16)  # blocks in the reference, saturating
        self._quiet = np.zeros(group_count, np.uint16)  # blocks that the group was fallen, less those that it was not
        self._hits = np.zeros(group_count, np.uint8)  # frames of this block with gradient
        self._hit_rate = np.zeros(group_count, np.float32)  # usual share of frames with gradient
        self._pause = np.zeros(group_count, np.uint16)  # blocks in a row without any gradient
        self._longest = np.zeros(group_count, np.uint16)  # longest such pause that the group came back from
        self._first_share = np.zeros(group_count, np.float32)  # of the strongest group's norm, in the first block; log
        self._best_share = np.full(group_count, -np.inf, np.float32)  # the same, the largest since the start
        self._dead = np.zeros(group_count, np.bool_)  # the groups of the open event
        self._alive = np.zeros(group_count, np.uint16)  # blocks in a row that a dead group has been recovered
        self._in_block = 0
        self._blocks = 0
        self._open_blocks = 0
        self._loss_sum = 0.0
        self._loss_count = 0
        self._loss_start = math.nan
        self._loss_now = math.nan
        self._loss_usual = math.nan
        self._loss_before = math.nan  # when the event opened
        self._disturbed = False  # an explosion was open during this block
        self._last_step = 0

    def seam(self) -> None:
        """A new attempt begins: what is half-filled is dropped, the past of the groups is kept."""
        self._begin_block()

    def observe(self, frame: FrameView, exploding: bool) -> EventUpdate | None:
        """Look at one frame, in order. While the norm explodes, nothing is learned about what is usual."""
        if math.isfinite(frame.global_norm):
            np.fmax(self._largest, frame.group_norms, out=self._largest)
            self._hits += frame.group_norms > 0.0
        else:
            self._disturbed = True
        self._disturbed = self._disturbed or exploding
        if math.isfinite(frame.loss):
            self._loss_sum += frame.loss
            self._loss_count += 1
        self._last_step = frame.step
        self._in_block += 1
        if self._in_block < BLOCK_FRAMES:
            return None
        update = self._judge_block(frame)
        self._begin_block()
        return update

    def _begin_block(self) -> None:
        self._largest[:] = 0.0
        self._hits[:] = 0
        self._in_block = 0
        self._loss_sum, self._loss_count = 0.0, 0
        self._disturbed = False

    def _judge_block(self, frame: FrameView) -> EventUpdate | None:
        self._follow_loss()
        gets_some = (self._largest > 0.0) & np.isfinite(self._largest)
        if not gets_some.any():
            return None
        log_norm = np.full(len(gets_some), ZERO)
        np.log(self._largest, out=log_norm, where=gets_some, dtype=np.float64)
        self._blocks += 1
        if self._blocks <= START_UNTIL:
            self._follow_start(log_norm)
        fall = self._fall(log_norm, gets_some)
        fallen = fall > FALLEN
        self._count_quiet(fallen, gets_some)
        self._learn(log_norm, gets_some & ~fallen)
        return self._tell_changes(frame, fall)

    def _follow_loss(self) -> None:
        if self._loss_count == 0:
            return
        mean = self._loss_sum / self._loss_count
        if math.isnan(self._loss_start):
            self._loss_start = self._loss_now = self._loss_usual = mean
        self._loss_now += (mean - self._loss_now) / LOSS_MEMORY
        if not self._disturbed:
            self._loss_usual += (mean - self._loss_usual) / REFERENCE_MEMORY

    def _fall(self, log_norm: NDArray[np.float64], gets_some: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How far each group is below its usual norm, less what all groups fell; 0 where that cannot be said."""
        judged = self.trainable & (self._known >= KNOWN_BLOCKS)
        fall = np.where(judged, self._reference - log_norm, 0.0)
        witnesses = judged & gets_some & ~self._dead
        common = float(fall[witnesses].min()) if witnesses.any() else 0.0
        if common > FALLEN and self._loss_stands_still():
            common = 0.0
        return np.where(judged, fall - max(common, 0.0), 0.0)

    def _loss_stands_still(self) -> bool:
        """All groups fell: a converging run has lowered its loss by it, a dead one has not."""
        return self._loss_usual > 0.0 and self._loss_now > (1.0 - FLAT) * self._loss_usual

    def _count_quiet(self, fallen: NDArray[np.bool_], gets_some: NDArray[np.bool_]) -> None:
        returned = gets_some & (self._pause > 0) & ~self._dead & (self._known > 0)
        self._longest[returned] = np.maximum(self._longest, self._pause)[returned]
        self._pause = np.where(gets_some, 0, _one_more(self._pause)).astype(np.uint16)
        one_less = self._quiet - (self._quiet > 0)
        self._quiet = np.where(fallen, np.minimum(self._quiet + 1, QUIET_BLOCKS), one_less).astype(np.uint16)

    def _long_enough(self) -> NDArray[np.bool_]:
        """Whether each group was quiet for longer than it is known to be now and then."""
        pause = self._pause.astype(np.int64)
        often = np.minimum(self._hit_rate.astype(np.float64), 0.999)
        unlikely = pause * BLOCK_FRAMES * -np.log1p(-often) > PAUSE_ONCE_IN
        beyond_habit = (pause == 0) | (unlikely & (pause >= PATIENCE * self._longest.astype(np.int64)))
        return np.logical_and(self._quiet >= QUIET_BLOCKS, beyond_habit)

    def _learn(self, log_norm: NDArray[np.float64], healthy: NDArray[np.bool_]) -> None:
        if self._disturbed:
            return
        learning = healthy & ~self._dead
        weight = 1.0 / np.minimum(self._known + 1.0, REFERENCE_MEMORY)
        moved = self._reference + (log_norm - self._reference) * weight
        self._reference = np.where(learning, moved, self._reference)
        self._known = np.where(learning, _one_more(self._known), self._known).astype(np.uint16)
        # Every block that is no trouble says how often the group gets gradient, also one in which it got none.
        weight_of_block = np.float32(1.0 / min(float(self._blocks), HIT_MEMORY))
        rate = self._hit_rate + (self._hits / np.float32(BLOCK_FRAMES) - self._hit_rate) * weight_of_block
        self._hit_rate = np.where(self._dead, self._hit_rate, rate)

    def _follow_start(self, log_norm: NDArray[np.float64]) -> None:
        share = (log_norm - log_norm.max()).astype(np.float32)
        if self._blocks == 1:
            self._first_share[:] = share
        np.maximum(self._best_share, share, out=self._best_share)
        if self._blocks >= START_BLOCKS and not self._dead.any():
            self._judge_start(log_norm, share)

    def _judge_start(self, log_norm: NDArray[np.float64], share: NDArray[np.float32]) -> None:
        """Mark the groups of a network that is dead from step 0 as fallen from what its living groups get."""
        with_loss = not math.isnan(self._loss_start)
        limit = START_SHARE if with_loss else START_SHARE_WITHOUT_LOSS
        coming = share > self._first_share + np.float32(COMING)
        nothing = self.trainable & (self._best_share < limit) & ~coming
        if nothing.sum() * START_GROUPS < self.trainable.sum() or not nothing.any():
            return
        if with_loss and self._loss_start - self._loss_now > FLAT * abs(self._loss_start):
            return
        living = log_norm[self.trainable & ~nothing]
        self._reference[nothing] = np.median(living)
        self._known[nothing] = KNOWN_BLOCKS
        self._quiet[nothing] = QUIET_BLOCKS
        self._hit_rate[nothing] = 1.0  # never any gradient is no habit of pausing

    def _tell_changes(self, frame: FrameView, fall: NDArray[np.float64]) -> EventUpdate | None:
        joining = self._long_enough() & self.trainable & ~self._dead
        self._alive = np.where(self._dead & (fall < RECOVERED), _one_more(self._alive), 0).astype(np.uint16)
        back = self._dead & ((self._alive >= QUIET_BLOCKS) | ~self.trainable)
        self._dead = (self._dead | joining) & ~back
        self._quiet[back] = 0
        if self.episode is None:
            return self._open(frame, fall) if joining.any() else None
        if not self._dead.any():
            return self._resolve()
        self.episode.last_step = self._last_step
        self._open_blocks += 1
        news = bool(joining.any())
        if news:
            self.episode.groups = tuple(np.flatnonzero(self._dead).tolist())
        critical = self._open_blocks >= CRITICAL_BLOCKS and self._most_are_dead() and self._loss_is_no_better()
        news = (critical and self.episode.raise_severity("critical")) or news
        return self._tell(fall) if news else None

    def _open(self, frame: FrameView, fall: NDArray[np.float64]) -> EventUpdate:
        self._open_blocks = 0
        self._loss_before = self._loss_usual
        groups = tuple(np.flatnonzero(self._dead).tolist())
        self.episode = Episode(frame.index, frame.step, frame.step, "warning", math.nan, math.nan, math.nan, groups)
        return self._tell(fall)

    def _most_are_dead(self) -> bool:
        return bool(2 * self._dead.sum() >= self.trainable.sum())

    def _loss_is_no_better(self) -> bool:
        return self._loss_now > self._loss_before - FLAT * abs(self._loss_before)

    def _tell(self, fall: NDArray[np.float64]) -> EventUpdate:
        assert self.episode is not None
        weakest = math.exp(-float(fall[self._dead].max()))
        count, of = int(self._dead.sum()), len(self._dead)
        message = f"{count} of {of} layers get less than 1/30 of their usual gradient, the weakest {weakest:.2g} of it"
        if self.episode.severity == "critical":
            message += f"; after {self._open_blocks * BLOCK_FRAMES} steps the loss is no better"
        return self.episode.update(KIND, "open", message, times_usual=weakest)

    def _resolve(self) -> EventUpdate:
        assert self.episode is not None
        count = len(self.episode.groups)
        message = f"the gradient is back in {count} of {len(self._dead)} layers, at more than 1/10 of its usual"
        update = self.episode.update(KIND, "resolved", message)
        self.episode = None
        return update

    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        return (
            self._largest,
            self._reference,
            self._known,
            self._quiet,
            self._hits,
            self._hit_rate,
            self._pause,
            self._longest,
            self._first_share,
            self._best_share,
            self._dead,
            self._alive,
        )

    def pack(self) -> bytes:
        head = _HEAD.pack(
            self._in_block,
            self._blocks,
            self._open_blocks,
            self._loss_sum,
            self._loss_start,
            self._loss_now,
            self._loss_usual,
            self._loss_before,
            self._loss_count,
            self._disturbed,
        )
        return head + b"".join(array.tobytes() for array in self._arrays()) + pack_episode(self.episode)

    def unpack(self, data: bytes, offset: int) -> int:
        (
            self._in_block,
            self._blocks,
            self._open_blocks,
            self._loss_sum,
            self._loss_start,
            self._loss_now,
            self._loss_usual,
            self._loss_before,
            self._loss_count,
            self._disturbed,
        ) = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        for array in self._arrays():
            array[:] = np.frombuffer(data, array.dtype, len(array), offset)
            offset += array.nbytes
        self.episode, offset = unpack_episode(data, offset)
        return offset


def _one_more(counts: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Counters that stop before they would overflow."""
    return np.minimum(counts, np.uint16(65_534)) + np.uint16(1)
