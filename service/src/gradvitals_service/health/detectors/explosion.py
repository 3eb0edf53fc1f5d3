"""Notice when the global norm leaves the run's own recent level upwards by more than its own noise explains.

All work is done on log norms, because norms of healthy runs spread over decades and their noise is a factor, not a
difference. Three observations raise the alarm, each with the run itself as the yardstick:

*Unheard of*: one frame so far above the level that neither the run's own tail nor its largest norm so far explains it.
One is enough, since the next update may be the last.

*Harm*: a norm that is merely large, followed by a loss that rose after it. A hard or new batch lifts loss and norm in
the same frame, measured with weights that are still good; an update that did damage shows in the losses after. That
order is what tells the wall of a recurrent network from a change of the data.

*Ramp*: level and loss both above where they were for hundreds of frames, with no single frame that stands out.
"""

import math
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode
from gradvitals_service.health.detectors.interface import EventUpdate, Frames, FrameView, Severity, Status, Told
from gradvitals_service.health.detectors.level import FadingRecord, RollingWindow, TailScale
from gradvitals_service.health.detectors.reopening import Reopening

KIND: Final = "explosion"

LEVEL_FRAMES = 64
"""Window of level and loss: outlives a burst of 30 frames, follows a changed batch size after as many."""

RAISED = math.log(3.0)
"""Above three times its level a norm is raised: where suspicion begins, and below which calm does."""

LARGE = math.log(6.0)
"""The least factor by which a norm must exceed its level before a worse loss is laid at its door. An explosion is by
its definition eight times what the norm would have been, which the level is not exactly."""

UNHEARD_OF = math.log(30.0)
"""A batch that pushes thirty times harder than usual may be worth a look, whatever follows; below that, isolated spikes
are a part of life (rare tokens, small batches, a new task)."""

ONCE_IN = math.log(0.5e6)
"""The run's own tail must give such an excess less than once in a million frames; half of them lie above the level."""

SELDOM = math.log(0.5e3)
"""With a worse loss as a second witness, less than once in a thousand frames is rare enough."""

RECORD_MARGIN = math.log(3.0)
"""How far beyond the largest norm that the run has survived. A converged run may return to the norms of its youth when
the data changes; an explosion goes beyond them."""

RECORD_HALF_LIFE = 1000.0
"""Frames after which half of a record's lead over the level is forgotten."""

KNOWN_FRAMES = 8
"""Frames after which a level is known well enough for an excess to count as the run's own noise."""

TAIL_PRIOR = 0.7
"""Scale of the tail assumed before the run has shown its own, that of a fairly heavy tail: in the first frames an
alarm then takes a factor of 10,000, since early transients are large."""

TAIL_PRIOR_WEIGHT = 32.0
"""The run's own excesses that outweigh the prior."""

TAIL_MEMORY = 500.0
"""Excesses (two frames each) over which the run's own tail is averaged."""

TAIL_LARGEST = math.log(100.0)
"""No single excess widens the tail by more than this."""

WATCH_FRAMES = 12
"""How long after a norm became raised the loss may still be laid at its door."""

HARM_MARGIN = 1.5
"""The losses after must exceed what the window had seen, and what the raised frame itself had, by this factor of the
distance from the median. Until the window is full, the loss is taken to stray by its own size."""

BEYOND_DOUBT = 4.0
"""Where all losses after exceed it by this factor, they speak for themselves: the norm need only be large, not
seldom."""

LONE = 1.0 / 3.0
"""A new task is about as hard on the next batches. Where their loss is above the usual by less than this of what the
raised frame had, that batch was a lone one, and excuses no loss but its own."""

HARM_FRAMES = 3
"""Losses whose median must be worse: one bad batch after a large norm proves nothing."""

LR_JUMP = 3.0
"""A learning rate this many times higher than ever before explains a worse loss better than the data does. Warm-up
grows by less from step to step, and a restart returns to a rate that was there before."""

RAMP = math.log(8.0)
"""Rise of the level itself, beyond its median over the ramp window, that counts as a slow explosion if the loss is
worse too."""

RAMP_EVERY = 32
MARKS_KNOWN = 8
RAMP_MARKS = 16
"""The ramp window: a mark of level and loss every 32 frames, 16 of them, so about 500 frames. From 8 on they are
judged by; so many are the past that the loss must be above, since older losses may be those of a beginner."""

CALM_FRAMES = 32
"""Frames in a row that are not raised before the event resolves: half a level window, so that a run that stays at a new
level resolves when that has become its level."""

REOPEN_FRAMES = LEVEL_FRAMES
"""Frames after its end in which the event may come back: so long some of its frames are part of the level against which
the next one is judged, so that it is no fresh start."""

APPLIED = math.log(10.0)
"""From this factor above the usual gradient on, what was applied after clipping counts as having reached the
weights."""

WORTHWHILE = 10
"""Calm frames at once from which on looking ahead costs less than looking at each."""

SHARE_TOLD = 0.1
MOST_GROUPS_TOLD = 8
"""Groups named by the event: those with a tenth of the squared norm at the peak, at most eight."""


class ExplosionDetector:
    """Levels of one stream's global norm and loss, and the explosion that is going on, if any."""

    def __init__(self) -> None:
        self.episode: Episode | None = None
        self.distance = 1.0  # what distances above the level are multiplied by; see options.py
        self._reopening = Reopening(REOPEN_FRAMES)
        self._level = RollingWindow(LEVEL_FRAMES)
        self._losses = RollingWindow(LEVEL_FRAMES)
        self._tail = TailScale(TAIL_PRIOR, TAIL_PRIOR_WEIGHT, TAIL_MEMORY, TAIL_LARGEST)
        self._record = FadingRecord(RECORD_HALF_LIFE)
        self._marked_levels = RollingWindow(RAMP_MARKS)
        self._marked_losses = RollingWindow(MARKS_KNOWN)
        self._frames = 0
        self._calm = 0
        self._harmed = False
        self._highest_lr = math.nan
        self._lr_watch_left = 0
        # The watch: what was known of the loss when the norm became raised.
        self._watch_left = 0
        self._watch_peak = 0.0  # the largest excess of the watch, and the norm and step that had it
        self._watch_norm = 0.0
        self._watch_step = -1
        self._loss_usual = 0.0
        self._loss_stray = 0.0  # how far above the usual losses were seen
        self._excuse = 0.0  # how far above it the loss of the raised frame was
        self._tail_then = 0.0  # scale of the tail before the raised frames, which are not their own excuse
        self._after = [math.nan] * HARM_FRAMES

    def seam(self) -> None:
        """A new attempt begins: learn the level anew, keep how the run strays and what it survived."""
        self._level.clear()
        self._losses.clear()
        self._marked_levels.clear()
        self._marked_losses.clear()
        self._watch_left = 0
        self._reopening.seam(self.episode)

    def observe(self, frames: Frames) -> tuple[Told, list[bool]]:
        """Look at a block of frames, in order; also says of each whether the norm was exploding after it."""
        told, count = [], len(frames)
        exploding = [False] * count
        row, singly_until = 0, 0
        while row < count:
            if row >= singly_until and count - row >= WORTHWHILE and self._may_be_calm():
                passed = self._pass_calm(frames.rows(row, count) if row else frames)
                if passed < WORTHWHILE:
                    singly_until = row + passed + WORTHWHILE  # to look ahead costs as much as some frames do
                row += passed
                continue
            update = self._observe_one(frames.view(row))
            if update is not None:
                told.append((row, update))
            exploding[row] = self.episode is not None
            row += 1
        return told, exploding

    def _may_be_calm(self) -> bool:
        """Nothing goes on, and the level is known."""
        return self.episode is None and self._watch_left == 0 and self._level.full

    def _pass_calm(self, frames: Frames) -> int:
        """Take the first frames up to one that might raise an alarm, as ``_observe_one`` would; says how many."""
        positive = np.flatnonzero((frames.global_norm > 0.0) & np.isfinite(frames.global_norm))
        logs = [math.log(norm) for norm in frames.global_norm[positive].tolist()]
        levels = self._level.medians_before(logs)
        excesses = np.array(logs) - levels
        raised = np.flatnonzero(excesses > RAISED)
        end = int(raised[0]) if len(raised) else len(logs)
        rows, losses, start = positive.tolist(), frames.logged_losses(), 0
        losses = losses if len(rows) == len(losses) else [losses[row] for row in rows]
        while start < end:  # from mark to mark, since each mark moves the limit of a ramp
            stop = min(end, start + RAMP_EVERY - self._frames % RAMP_EVERY)
            ramps = self._might_ramp(levels[start:stop])
            stop = start + int(ramps[0]) if len(ramps) else stop
            self._learn_calm(logs[start:stop], losses[start:stop], levels[start:stop], excesses[start:stop])
            start = stop
            if len(ramps):
                end = stop
        passed = rows[end] if end < len(rows) else len(frames)
        self._watch_lrs(frames.lr[positive[:end]])
        if not np.isfinite(frames.global_norm[:passed]).all():
            self._calm = 0
        return passed

    def _might_ramp(self, levels: NDArray[np.float64]) -> NDArray[np.intp]:
        """The frames before the next mark whose level is high enough for a ramp."""
        if len(self._marked_levels) < MARKS_KNOWN or not len(levels):
            return np.empty(0, np.intp)
        return np.flatnonzero(levels > self._marked_levels.median + self.distance * RAMP)

    def _learn_calm(
        self, logs: list[float], losses: list[float], levels: NDArray[np.float64], excesses: NDArray[np.float64]
    ) -> None:
        """As ``_learn`` for frames up to the next mark at most."""
        self._tail.extend(excesses.tolist())
        self._record.extend(logs, levels.tolist())
        self._level.extend(logs)
        self._losses.extend([loss for loss in losses if math.isfinite(loss)])
        self._frames += len(logs)
        self._mark_if_due(new=len(logs))

    def _observe_one(self, frame: FrameView) -> EventUpdate | None:
        """Look at one frame."""
        if not math.isfinite(frame.global_norm):
            self._calm = 0
            return None
        if frame.global_norm <= 0.0:  # nothing was learned here, so it says nothing about the level
            return None
        self._watch_lr(frame.lr)
        log_norm = math.log(frame.global_norm)
        level = self._level.median if len(self._level) else log_norm
        excess = log_norm - level
        harm = self._watch_loss(frame, excess)
        ramp = self._ramp(level)
        update = None
        if self.episode is not None:
            update = self._follow(frame, excess, harm, calm=excess < RAISED and not ramp)
        elif harm or ramp or self._unheard_of(log_norm, excess):
            usual = level if harm or excess > self.distance * UNHEARD_OF else self._marked_levels.median
            update = self._open(frame, usual, excess, harm)
        self._learn(frame, log_norm, level, excess)
        return update

    def _unheard_of(self, log_norm: float, excess: float) -> bool:
        if excess < self.distance * UNHEARD_OF or log_norm < self._record.value + self.distance * RECORD_MARGIN:
            return False
        return excess > self.distance * ONCE_IN * self._tail.scale

    def _watch_lr(self, lr: float) -> None:
        self._lr_watch_left = max(self._lr_watch_left - 1, 0)
        if not lr > 0.0 or lr == math.inf:
            return
        if lr > LR_JUMP * self._highest_lr:
            self._lr_watch_left = WATCH_FRAMES
        if not lr <= self._highest_lr:
            self._highest_lr = lr

    def _watch_lrs(self, rates: NDArray[np.float32]) -> None:
        """As ``_watch_lr`` for each rate."""
        if (rates <= self._highest_lr).all():  # no rate that is new: only time goes on
            self._lr_watch_left = max(self._lr_watch_left - len(rates), 0)
            return
        for lr in rates.tolist():
            self._watch_lr(lr)

    def _watch_loss(self, frame: FrameView, excess: float) -> bool:
        """Whether the losses after a raised norm are worse than anything that explains them."""
        if self._watch_left == 0:
            if excess > RAISED and len(self._losses):
                self._begin_watch(frame, excess)
            return False
        self._watch_left -= 1
        if excess > self._watch_peak:
            self._watch_peak, self._watch_norm, self._watch_step = excess, frame.global_norm, frame.step
        if not math.isfinite(frame.loss):
            return False
        were_enough = not math.isnan(self._after[0])
        self._after = [*self._after[1:], frame.loss]
        by_size = sorted(-math.inf if math.isnan(loss) else loss for loss in self._after)
        least, worse = by_size[0] - self._loss_usual, by_size[HARM_FRAMES // 2] - self._loss_usual
        if not were_enough and by_size[0] > -math.inf and worse < LONE * self._excuse:
            self._excuse = 0.0
        if self._watch_peak < self.distance * LARGE or worse <= 0.0:
            return False
        stray = max(self._loss_stray, self._excuse)
        if self._watch_peak < self.distance * SELDOM * self._tail_then:
            return least > BEYOND_DOUBT * stray
        return worse > HARM_MARGIN * stray

    def _begin_watch(self, frame: FrameView, excess: float) -> None:
        self._watch_left = WATCH_FRAMES
        self._watch_peak, self._watch_norm, self._watch_step = excess, frame.global_norm, frame.step
        self._after = [math.nan] * HARM_FRAMES
        usual = self._losses.median
        unknown = 1.0 - len(self._losses) / LEVEL_FRAMES
        self._loss_usual = usual
        self._loss_stray = max(
            self._losses.maximum - usual, usual - self._losses.largest(LEVEL_FRAMES), unknown * abs(usual)
        )
        # A loss that is high already with this frame was not made by this frame's update.
        at_once = frame.loss if math.isfinite(frame.loss) and not self._lr_watch_left else usual
        self._excuse = at_once - usual
        self._tail_then = self._tail.scale

    def _ramp(self, level: float) -> bool:
        if len(self._marked_levels) < MARKS_KNOWN or not len(self._losses):
            return False
        risen = level > self._marked_levels.median + self.distance * RAMP
        return risen and self._losses.median > self._marked_losses.maximum

    def _open(self, frame: FrameView, usual: float, excess: float, harm: bool) -> EventUpdate:
        self._calm = 0
        norm, step = frame.global_norm, frame.step
        if harm and self._watch_norm > norm:
            norm, step = self._watch_norm, self._watch_step
        severity, groups = self._severity(frame, excess, harm), _largest_groups(frame)
        fresh = Episode(frame.index, frame.step, frame.step, severity, groups, norm, math.exp(usual), norm)
        fresh.peak_step, fresh.shares = step, frame.shares_of(groups)
        self.episode = self._reopening.open(fresh)
        self._harmed = harm or (self._harmed and self.episode.returns > 0)
        return self._tell(frame)

    def _follow(self, frame: FrameView, excess: float, harm: bool, calm: bool) -> EventUpdate | None:
        """Carry an open event on: severity, peak, or its end."""
        episode = self.episode
        assert episode is not None
        self._harmed |= harm
        self._calm = self._calm + 1 if calm else 0
        if self._calm == 0:
            episode.last_step = frame.step
        if self._calm >= CALM_FRAMES:
            loss = "; the loss was harmed" if self._harmed else ""
            update = self._say("resolved", f"rose to {self._times()} and came back{loss}")
            self._reopening.resolve(episode, frame.index)
            self.episode = None
            self._marked_levels.clear()  # a ramp is one event: where it ended is the level from now on
            self._marked_losses.clear()
            return update
        if frame.global_norm > episode.peak:
            episode.groups = _largest_groups(frame)
            episode.shares = frame.shares_of(episode.groups)
        news = episode.raise_peak(frame.global_norm, frame.step)
        news = episode.raise_severity(self._severity(frame, excess, self._harmed)) or news
        return self._tell(frame) if news else None

    def _severity(self, frame: FrameView, excess: float, harmed: bool) -> Severity:
        """Critical once the loss is harmed, or a gradient far above the usual was applied to the weights."""
        if harmed:
            return "critical"
        if frame.skipped:
            return "warning"
        level = math.log(frame.global_norm) - excess
        usual = min(level, math.log(frame.max_norm)) if 0.0 < frame.max_norm < math.inf else level
        applied = frame.global_norm * frame.clip_coefficient
        return "critical" if applied > 0.0 and math.log(applied) - usual > APPLIED else "warning"

    def _learn(self, frame: FrameView, log_norm: float, level: float, excess: float) -> None:
        """Take the frame into the levels. What belongs to an explosion is not the run's own noise."""
        if self.episode is None:
            if len(self._level) >= KNOWN_FRAMES:
                self._tail.push(excess)
            self._record.push(log_norm, level)
        self._level.push(log_norm)
        if math.isfinite(frame.loss):
            self._losses.push(frame.loss)
        self._frames += 1
        self._mark_if_due(new=1)

    def _mark_if_due(self, new: int) -> None:
        """Mark level and loss where the ``new`` frames end at a mark."""
        if new and self._frames % RAMP_EVERY == 0 and len(self._losses):
            self._marked_levels.push(self._level.median)
            self._marked_losses.push(self._losses.median)

    def _tell(self, frame: FrameView) -> EventUpdate:
        return self._say("open", f"is {self._times()}{self._consequence(frame)}")

    def _say(self, status: Status, what: str) -> EventUpdate:
        assert self.episode is not None
        return self.episode.update(KIND, status, f"the global norm {what}")

    def _times(self) -> str:
        assert self.episode is not None
        return f"{self.episode.peak / self.episode.usual:.3g} times its usual {self.episode.usual:.3g}"

    def _consequence(self, frame: FrameView) -> str:
        assert self.episode is not None
        if self._harmed:
            return "; the loss follows"
        if self.episode.severity == "critical":
            return ", and the update was applied"
        if frame.skipped:
            return "; the step was skipped"
        return ", absorbed by clipping so far" if frame.clip_coefficient < 1.0 else ", and so is the loss above its own"

    def pack(self) -> bytes:
        windows = (self._level, self._losses, self._marked_levels, self._marked_losses, self._tail, self._record)
        numbers = _NUMBERS.pack(
            self._frames,
            self._calm,
            self._harmed,
            self._watch_left,
            self._lr_watch_left,
            self._highest_lr,
            self._watch_peak,
            self._watch_norm,
            self._loss_usual,
            self._loss_stray,
            self._excuse,
            self._tail_then,
            self._watch_step,
            *self._after,
        )
        parts = b"".join(part.pack() for part in (*windows, self._reopening))
        return numbers + parts + pack_episode(self.episode)

    def unpack(self, data: bytes, offset: int) -> int:
        numbers = _NUMBERS.unpack_from(data, offset)
        self._frames, self._calm, self._harmed, self._watch_left, self._lr_watch_left = numbers[:5]
        self._highest_lr, self._watch_peak, self._watch_norm = numbers[5:8]
        self._loss_usual, self._loss_stray, self._excuse = numbers[8:11]
        self._tail_then, self._watch_step = numbers[11:13]
        self._after = list(numbers[13:])
        offset += _NUMBERS.size
        for part in (self._level, self._losses, self._marked_levels, self._marked_losses, self._tail, self._record):
            offset = part.unpack(data, offset)
        self.episode, offset = unpack_episode(data, self._reopening.unpack(data, offset))
        return offset


_NUMBERS = struct.Struct(f"<QI?IIdddddddq{HARM_FRAMES}d")


def _largest_groups(frame: FrameView) -> tuple[int, ...]:
    """Groups with a sizeable share of the squared norm of this frame, largest first."""
    squares = np.square(np.where(np.isfinite(frame.group_norms), frame.group_norms, 0.0), dtype=np.float64)
    shares = squares / max(float(squares.sum()), 1e-300)
    order = np.argsort(-shares, kind="stable")[:MOST_GROUPS_TOLD]
    return tuple(int(group) for group in order if shares[group] >= SHARE_TOLD)
