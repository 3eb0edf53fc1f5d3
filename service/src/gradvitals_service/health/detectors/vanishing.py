"""Notice groups that stop receiving gradient while the rest of the network still gets some.

A falling norm is no trouble by itself: every converging run has it, in all groups at once. What counts is a fall below
the group's own past *and* below what the other groups fell, that lasts. Frames are judged eight at a time by the
largest norm among them, so that a group that gets gradient on some steps only (rare embeddings, heads trained in
turn, experts) looks alive; a group that is known to pause for longer is given longer.

A network that is dead from step 0 has no past to compare with. There the falling off across the network says it: a
third of the groups get less than a thousandth of what the strongest gets, from the first frames on, and the loss does
not move.

Where every gradient is exactly zero there is nothing to compare at all; it is told once it lasts and the loss stands
still. A perfect fit is silent too, but its loss has fallen.
"""

import math
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors.calm_blocks import BLOCK_FRAMES, follow, make_blocks, steady
from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode
from gradvitals_service.health.detectors.interface import EventUpdate, Frames, FrameView, Severity, Told
from gradvitals_service.health.detectors.level import LossTrend
from gradvitals_service.health.detectors.pauses import Pauses
from gradvitals_service.health.detectors.reopening import Reopening
from gradvitals_service.health.detectors.silence import Silence
from gradvitals_service.health.detectors.state import one_more, pack_arrays, unpack_arrays

KIND: Final = "vanishing"

FALLEN = math.log(30.0)
"""A group has fallen when it gets less than a thirtieth of its usual gradient, beyond what all groups fell. Healthy
groups drift apart by a factor of ten within a few hundred frames, for instance after a layer is unfrozen."""

RECOVERED = math.log(10.0)
"""It has recovered when it gets more than a tenth again."""

QUIET_BLOCKS = 3
"""How many more blocks than not a group must be fallen, and how many in a row recovered: 24 frames. A saturated layer
still gets gradient from a lucky batch, so being fallen need not be unbroken."""

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

LOSS_MEMORY = 4.0
"""Blocks over which the present loss is averaged."""

CRITICAL_BLOCKS = 16
"""Blocks (128 frames) after which vanishing of at least half of the groups is critical if the loss is no better than
before."""

REOPEN_FRAMES = 256
"""Frames after its end in which the event may come back: half of those over which it is averaged what is usual, so
that the groups are still judged by what they got before they fell at first."""

ZERO = -100.0
"""Stands for the logarithm of a norm of zero; the smallest float32 has -103."""

_HEAD = struct.Struct("<IQIdd??")


class VanishingDetector:
    """What each group usually gets, which groups get nothing now, and the event about them, if any."""

    def __init__(self, group_count: int, trainable: NDArray[np.bool_]) -> None:
        self.episode: Episode | None = None
        self.trainable = trainable
        self.distance = 1.0  # what distances below the usual are multiplied by; see options.py
        self._reopening = Reopening(REOPEN_FRAMES)
        self._pauses = Pauses(group_count, BLOCK_FRAMES)
        self._silence = Silence()
        self._loss = LossTrend(LOSS_MEMORY, REFERENCE_MEMORY)
        self._largest = np.zeros(group_count, np.float32)  # of the block that is being filled
        self._newest: list[NDArray[np.float32]] = []  # norms of that block that are not in ``_largest`` yet
        self._reference = np.zeros(group_count, np.float64)  # log of the usual norm
        self._known = np.zeros(group_count, np.uint16)  # blocks in the reference, saturating
        self._quiet = np.zeros(group_count, np.uint16)  # blocks that the group was fallen, less those that it was not
        self._first_share = np.zeros(group_count, np.float32)  # of the strongest group's norm, in the first block; log
        self._best_share = np.full(group_count, -np.inf, np.float32)  # the same, the largest since the start
        self._dead = np.zeros(group_count, np.bool_)  # the groups of the open event
        self._alive = np.zeros(group_count, np.uint16)  # blocks in a row that a dead group has been recovered
        self._in_block = 0
        self._blocks = 0
        self._open_blocks = 0
        self._loss_before = math.nan  # when the event opened
        self._weakest = math.inf  # smallest share of its usual norm that a group of the event had
        self._disturbed = False  # this block is no example of what is usual
        self._after_seam = False  # no block of this attempt has been judged yet

    def seam(self) -> None:
        """A new attempt begins: what is half-filled is dropped, the past of the groups is kept."""
        self._begin_block()
        self._after_seam = True
        self._reopening.seam(self.episode)

    def observe(self, frames: Frames, exploding: list[bool]) -> Told:
        """Look at a block of frames, in order. While the norm explodes, nothing is learned about what is usual."""
        if not len(self._largest):  # no layer is measured, so none can be missed
            return []
        told: Told = []
        finite = frames.are_finite()
        disturbed = [explodes or not is_finite for explodes, is_finite in zip(exploding, finite, strict=True)]
        losses, count = frames.logged_losses(), len(frames)
        row, ahead = 0, count
        while row < count:
            stop = min(count, row + BLOCK_FRAMES - self._in_block)
            self._take(frames.group_norms[row:stop], finite[row:stop], losses[row:stop])
            self._disturbed = self._disturbed or any(disturbed[row:stop])
            row = stop
            if self._in_block < BLOCK_FRAMES:
                break
            self._sum_up()
            passed = 0 if self._disturbed else self._pass_calm(frames.group_norms, row, disturbed, losses, ahead)
            if passed:
                row += BLOCK_FRAMES * (passed - 1)
                ahead = 2 * passed
                continue
            ahead = 1  # where something stirs, looking far ahead is in vain
            update = self._judge_block(frames.view(row - 1))
            self._begin_block()
            if update is not None:
                told.append((row - 1, update))
        return told

    def _take(self, norms: NDArray[np.float32], finite: list[bool], losses: list[float]) -> None:
        """Take frames into the block that is being filled, no more than fit; of those that are finite, the norms."""
        self._newest.append(norms.copy() if all(finite) else norms[finite])
        self._loss.push(losses)
        self._in_block += len(finite)

    def _sum_up(self) -> None:
        """Look at the norms that were taken: to look at all of a block at once costs little more than at one frame."""
        if not self._newest:
            return
        norms = np.concatenate(self._newest)
        self._newest.clear()
        if len(norms):
            np.maximum(self._largest, np.maximum.reduce(norms, axis=0), out=self._largest)
            self._pauses.push(norms)

    def _pass_calm(
        self, norms: NDArray[np.float32], row: int, disturbed: list[bool], losses: list[float], ahead: int
    ) -> int:
        """Judge the full block and up to ``ahead`` that follow it as ``_judge_block`` would, as far as all of them are
        free of news: says how many were, the full one included."""
        if self._blocks < START_UNTIL or self._something_stirs():
            return 0
        count = _undisturbed_blocks(disturbed[row : row + BLOCK_FRAMES * ahead])
        blocks = make_blocks(self._largest, self._pauses.hits, norms[row : row + BLOCK_FRAMES * count])
        getting = blocks.gets_some[0]
        groups, known = np.count_nonzero(getting), self._known >= KNOWN_BLOCKS
        # Is there a group that gets gradient and has no past, or has a past and should get some?
        if not groups or np.count_nonzero((getting ^ known) & (getting | self.trainable)):
            return 0
        if self._pauses.any_returns(self.trainable, getting):
            return 0
        count = steady(blocks.gets_some)
        which = slice(None) if groups == len(getting) else getting  # a mask copies
        log_norms = np.log(blocks.largest[:count, which], dtype=np.float64)
        references = follow(self._reference[which], self._known[which], log_norms, REFERENCE_MEMORY)
        falls = references[:-1] - log_norms
        if falls.max() > self.distance * FALLEN:
            fallen = ((falls > self.distance * FALLEN) & self.trainable[which]).any(axis=1)
            count = int(np.argmax(fallen)) if fallen.any() else count
        if count:
            self._reference[which] = references[count]
            self._known[which] = np.minimum(self._known[which], 65_535 - count) + np.uint16(count)
            self._pauses.pass_calm(blocks.hits[:count], self.trainable, getting)
            self._silence.count(silent=False)
            self._blocks += count
            self._pass_losses(losses[row : row + BLOCK_FRAMES * (count - 1)])
            self._begin_block()
        return count

    def _something_stirs(self) -> bool:
        """Some group is more than an example of what is usual."""
        if self.episode is not None or self._after_seam:
            return True
        return any(map(np.count_nonzero, (self._dead, self._quiet, self._alive)))

    def _pass_losses(self, losses: list[float]) -> None:
        """Close the full block, and those that follow it, each undisturbed."""
        self._loss.close_block(disturbed=False)
        for start in range(0, len(losses), BLOCK_FRAMES):
            self._loss.begin_block()
            self._loss.push(losses[start : start + BLOCK_FRAMES])
            self._loss.close_block(disturbed=False)

    def _begin_block(self) -> None:
        self._largest.fill(0.0)
        self._newest.clear()
        self._pauses.begin_block()
        self._loss.begin_block()
        self._in_block = 0
        self._disturbed = False

    def _judge_block(self, frame: FrameView) -> EventUpdate | None:
        self._loss.close_block(self._disturbed)
        gets_some = self._largest > 0.0
        if not self._disturbed:
            self._silence.count(silent=not gets_some.any())
        if not gets_some.any():
            return self._judge_silence(frame)
        log_norm = np.full(len(gets_some), ZERO)
        np.log(self._largest, out=log_norm, where=gets_some, dtype=np.float64)
        self._blocks += 1
        if self._blocks <= START_UNTIL:
            self._follow_start(log_norm)
        if self._after_seam and not self._disturbed:
            self._take_over_level(log_norm, gets_some)
        fall = self._fall(log_norm, gets_some)
        fallen = fall > self.distance * FALLEN
        returned = self._pauses.count(self.trainable & ~self._dead, gets_some)
        self._quiet[returned] = 0  # a pause that ended was within the group's habit, so it is no part of a fall
        one_less = self._quiet - (self._quiet > 0)
        self._quiet[:] = np.where(fallen, np.minimum(self._quiet + 1, QUIET_BLOCKS), one_less)
        if not self._disturbed:
            self._learn(log_norm, gets_some & ~fallen & ~self._dead)
        return self._tell_changes(frame, fall, gets_some)

    def _judge_silence(self, frame: FrameView) -> EventUpdate | None:
        """Nobody gets anything in this block."""
        if self.episode is not None:
            self.episode.last_step = frame.step
            return None
        if not self._silence.beyond_habit() or not self._loss_stands_still():
            return None
        self._dead, self._weakest = self.trainable.copy(), 0.0
        return self._open(frame, "critical")

    def _take_over_level(self, log_norm: NDArray[np.float64], gets_some: NDArray[np.bool_]) -> None:
        """A resume may scale the whole gradient, as a mean in place of a sum does: what fell by as much in every group
        fell by its doing."""
        self._after_seam = False
        witnesses = self.trainable & (self._known >= KNOWN_BLOCKS) & gets_some & ~self._dead
        if witnesses.any():
            common = float((self._reference - log_norm)[witnesses].min())
            self._reference -= common if common > FALLEN else 0.0

    def _fall(self, log_norm: NDArray[np.float64], gets_some: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How far each group is below its usual norm, less what all groups fell; 0 where that cannot be said."""
        judged = self.trainable & (self._known >= KNOWN_BLOCKS)
        fall = np.where(judged, self._reference - log_norm, 0.0)
        witnesses = judged & gets_some & ~self._dead
        common = float(fall[witnesses].min()) if witnesses.any() else 0.0
        if common > self.distance * FALLEN and self._loss_stands_still():
            common = 0.0
        return np.where(judged, fall - max(common, 0.0), 0.0)

    def _loss_stands_still(self) -> bool:
        """All groups fell: a converging run has lowered its loss by it, a dead one has not."""
        return self._loss.usual > 0.0 and self._loss.now > (1.0 - FLAT) * self._loss.usual

    def _learn(self, log_norm: NDArray[np.float64], healthy: NDArray[np.bool_]) -> None:
        weight = 1.0 / np.minimum(self._known + 1.0, REFERENCE_MEMORY)
        moved = self._reference + (log_norm - self._reference) * weight
        self._reference[:] = np.where(healthy, moved, self._reference)
        self._known[:] = np.where(healthy, one_more(self._known), self._known)
        self._pauses.learn(self.trainable & ~self._dead, self._blocks)

    def _follow_start(self, log_norm: NDArray[np.float64]) -> None:
        share = (log_norm - log_norm.max()).astype(np.float32)
        if self._blocks == 1:
            self._first_share[:] = share
        np.maximum(self._best_share, share, out=self._best_share)
        if self._blocks >= START_BLOCKS and not self._dead.any():
            self._judge_start(log_norm, share)

    def _judge_start(self, log_norm: NDArray[np.float64], share: NDArray[np.float32]) -> None:
        """Mark the groups of a network that is dead from step 0 as fallen from what its living groups get."""
        with_loss = not math.isnan(self._loss.start)
        limit = self.distance * (START_SHARE if with_loss else START_SHARE_WITHOUT_LOSS)
        coming = share > self._first_share + np.float32(COMING)
        nothing = self.trainable & (self._best_share < limit) & ~coming
        if nothing.sum() * START_GROUPS < self.trainable.sum() or not nothing.any():
            return
        if with_loss and self._loss.start - self._loss.now > FLAT * abs(self._loss.start):
            return
        living = log_norm[self.trainable & ~nothing]
        self._reference[nothing] = np.median(living)
        self._known[nothing] = KNOWN_BLOCKS
        self._quiet[nothing] = QUIET_BLOCKS
        self._pauses.expect_gradient(nothing)  # never any is no habit of pausing

    def _tell_changes(
        self, frame: FrameView, fall: NDArray[np.float64], gets_some: NDArray[np.bool_]
    ) -> EventUpdate | None:
        joining = (
            (self._quiet >= QUIET_BLOCKS)
            & self._pauses.beyond_habit(self.trainable & ~self._dead, self._blocks)
            & self.trainable
            & ~self._dead
        )
        self._alive[:] = np.where(self._dead & (fall < RECOVERED), one_more(self._alive), np.uint16(0))
        back = self._dead & ((self._alive >= QUIET_BLOCKS) | ~self.trainable)
        self._dead = (self._dead | joining) & ~back
        self._quiet[back] = 0
        if self.episode is None and not joining.any():
            return None
        if not self._dead.any():
            return self._resolve(frame)
        shares = np.where(gets_some, np.exp(-fall), 0.0)
        self._weakest = min(self._weakest, float(shares[self._dead].min()))
        if self.episode is None:
            return self._open(frame)
        return self._follow(frame, news=bool(joining.any()))

    def _open(self, frame: FrameView, severity: Severity = "warning") -> EventUpdate:
        self._open_blocks = 0
        self._loss_before = self._loss.usual
        groups = tuple(np.flatnonzero(self._dead).tolist())
        fresh = Episode(frame.index, frame.step, frame.step, severity, groups, shares=frame.shares_of(groups))
        self.episode = self._reopening.open(fresh)
        return self._tell()

    def _follow(self, frame: FrameView, news: bool) -> EventUpdate | None:
        """Carry an open event on; ``news`` when groups have joined."""
        episode = self.episode
        assert episode is not None
        episode.last_step = frame.step
        self._open_blocks += 1
        if news:
            episode.groups = tuple(np.flatnonzero(self._dead).tolist())
            episode.shares = frame.shares_of(episode.groups)
        lasts = self._open_blocks >= CRITICAL_BLOCKS
        if lasts and self._most_are_dead() and self._loss_is_no_better() and episode.raise_severity("critical"):
            news = True
        return self._tell() if news else None

    def _most_are_dead(self) -> bool:
        return bool(2 * self._dead.sum() >= self.trainable.sum())

    def _loss_is_no_better(self) -> bool:
        return self._loss.now > self._loss_before - FLAT * abs(self._loss_before)

    def _tell(self) -> EventUpdate:
        assert self.episode is not None
        if self._silence.blocks:
            silent = f"no layer has got any gradient for {self._silence.blocks * BLOCK_FRAMES} steps"
            return self.episode.update(KIND, "open", f"{silent}, and the loss stands still", times_usual=0.0)
        weakest = f"the weakest {self._weakest:.2g} of it" if self._weakest > 0.0 else "the weakest none at all"
        count, of = int(self._dead.sum()), len(self._dead)
        share = f"1/{math.exp(self.distance * FALLEN):.0f}"
        message = f"{count} of {of} layers get less than {share} of their usual gradient, {weakest}"
        if self.episode.severity == "critical":
            message += f"; after {self._open_blocks * BLOCK_FRAMES} steps the loss is no better"
        return self.episode.update(KIND, "open", message, times_usual=self._weakest)

    def _resolve(self, frame: FrameView) -> EventUpdate:
        assert self.episode is not None
        count = len(self.episode.groups)
        message = f"the gradient is back in {count} of {len(self._dead)} layers, at more than 1/10 of its usual"
        update = self.episode.update(KIND, "resolved", message, times_usual=self._weakest)
        self._reopening.resolve(self.episode, frame.index)
        self.episode = None
        self._weakest = math.inf
        return update

    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        return (
            self._largest,
            self._reference,
            self._known,
            self._quiet,
            self._first_share,
            self._best_share,
            self._dead,
            self._alive,
        )

    def pack(self) -> bytes:
        self._sum_up()
        numbers = (self._in_block, self._blocks, self._open_blocks, self._loss_before, self._weakest)
        flags = (self._disturbed, self._after_seam)
        parts = (
            self._silence.pack(),
            self._loss.pack(),
            self._pauses.pack(),
            pack_arrays(self._arrays()),
            self._reopening.pack(),
            pack_episode(self.episode),
        )
        return _HEAD.pack(*numbers, *flags) + b"".join(parts)

    def unpack(self, data: bytes, offset: int) -> int:
        numbers = _HEAD.unpack_from(data, offset)
        self._in_block, self._blocks, self._open_blocks = numbers[:3]
        self._loss_before, self._weakest, self._disturbed, self._after_seam = numbers[3:]
        offset = self._silence.unpack(data, offset + _HEAD.size)
        offset = self._loss.unpack(data, offset)
        offset = self._pauses.unpack(data, offset)
        offset = unpack_arrays(self._arrays(), data, offset)
        self.episode, offset = unpack_episode(data, self._reopening.unpack(data, offset))
        return offset


def _undisturbed_blocks(disturbed: list[bool]) -> int:
    """How many full blocks there are before the first frame that is disturbed."""
    frames = disturbed.index(True) if True in disturbed else len(disturbed)
    return frames // BLOCK_FRAMES
