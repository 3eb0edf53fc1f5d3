"""Warn before an explosion, where the run climbs towards one for hundreds of steps.

Most explosions come out of the blue, and nothing here pretends to see them coming. Some announce themselves: the loss
leaves everything that it was for hundreds of steps, slowly and for good, while the learning rate is higher than it
ever was, or while the gradient's norm climbs with it. A converging run's loss falls, a harder batch or a new task
lifts it at an old learning rate, and a restart returns to a rate that was there before; none of these is meant.

Frames are looked at 32 at a time, by the medians of norm and loss, so that spikes count for nothing. An explosion ends
the warning: it is then that event which tells the story.
"""

import math
import struct
from typing import Final

import numpy as np

from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode
from gradvitals_service.health.detectors.interface import EventUpdate, Frames, FrameView, Told
from gradvitals_service.health.detectors.reopening import Reopening

KIND: Final = "instability"

MARK_FRAMES: Final = 32
"""Frames whose medians make one mark: a burst of spikes seldom fills half of it."""

OLD_MARKS: Final = 12
NEW_MARKS: Final = 3
"""What is compared: the newest three marks (96 frames), each of them, with all of the twelve before (384 frames). One
high mark is noise, two may be a hard stretch of the data."""

CLIMB = 2.0
"""The newest loss must lie above the median of the old marks by so many times their whole spread. Noise that reaches
that far would have widened the spread."""

LEAST_CLIMB = 0.05
"""The spread counts as at least this share of the loss, so that on a plateau, where it is next to nothing, a percent
more is no climb."""

RATE_RISEN = 1.25
"""A learning rate that is a quarter higher than 400 frames ago, and higher than ever before, is a cause that goes on;
one that rises more slowly is as good as constant."""

NORM_RISEN = math.log(3.0)
"""Without such a cause the norm's own level must have climbed this far: half of the tenfold at which a slow ramp is an
explosion, and more than a harder batch or a longer sequence asks for."""

REOPEN_FRAMES = MARK_FRAMES * (OLD_MARKS + NEW_MARKS)
"""Frames after its end in which the event may come back: so long the next judgement shares marks with the last."""

_NUMBERS = struct.Struct("<dBBBB")


class InstabilityDetector:
    """Marks of norm, loss and learning rate over the newest 480 frames, and the warning, if any."""

    def __init__(self) -> None:
        self.episode: Episode | None = None
        self._reopening = Reopening(REOPEN_FRAMES)
        self._norms: list[float] = []  # of the mark that is being filled
        self._seen: list[float] = []  # its losses
        self._levels: list[float] = []  # log of the median norm of each mark
        self._losses: list[float] = []
        self._rates: list[float] = []
        self._highest_rate = 0.0  # of all marks that are forgotten
        self._calm = 0  # marks in a row that are not above the old ones

    def seam(self) -> None:
        """A new attempt begins: its own frames are awaited; the highest learning rate is remembered."""
        self._forget()
        self._reopening.seam(self.episode)

    def observe(self, frames: Frames, exploding: list[bool]) -> Told:
        """Look at a block of frames, in order; ``exploding`` says of each whether an explosion is open."""
        told: Told = []
        norms, losses, logged = frames.global_norm.tolist(), frames.loss.tolist(), frames.has_loss.tolist()
        columns = zip(norms, losses, logged, exploding, strict=True)
        for row, (norm, loss, has_loss, explodes) in enumerate(columns):
            update = None
            if explodes:
                update = self._explode(frames, row)
            elif 0.0 < norm < math.inf:
                self._norms.append(norm)
                if has_loss and math.isfinite(loss):
                    self._seen.append(loss)
                if len(self._norms) == MARK_FRAMES:
                    update = self._mark(frames, row)
            if update is not None:
                told.append((row, update))
        return told

    def _explode(self, frames: Frames, row: int) -> EventUpdate | None:
        """The explosion is told as such; what it leaves behind is no past to compare with."""
        self._forget()
        if self.episode is None:
            return None
        return self._resolve(f"the climb ended in an explosion at step {frames.step[row]}", frames.first + row)

    def _forget(self) -> None:
        self._highest_rate = max([self._highest_rate, *self._rates])
        for remembered in (self._norms, self._seen, self._levels, self._losses, self._rates):
            remembered.clear()
        self._calm = 0

    def _mark(self, frames: Frames, row: int) -> EventUpdate | None:
        """Judge the full mark by those before it, and add it to them."""
        norms, losses, rate = sorted(self._norms), sorted(self._seen), float(frames.lr[row])
        self._norms.clear()
        self._seen.clear()
        if len(losses) <= MARK_FRAMES // 2:  # a loss that is logged now and then has no median worth the name
            return None
        self._levels.append(math.log(norms[(len(norms) - 1) // 2]))
        self._losses.append(losses[(len(losses) - 1) // 2])
        self._rates.append(rate if 0.0 < rate < math.inf else 0.0)
        if len(self._losses) < OLD_MARKS + NEW_MARKS:
            return None
        update = self._judge(frames.view(row))
        self._highest_rate = max(self._highest_rate, self._rates.pop(0))
        del self._levels[0], self._losses[0]
        return update

    def _judge(self, frame: FrameView) -> EventUpdate | None:
        old = sorted(self._losses[:OLD_MARKS])
        above = min(self._losses[OLD_MARKS:]) > old[-1]
        if self.episode is not None:
            return self._follow(frame, above=above)
        usual = old[OLD_MARKS // 2]
        spread = max(old[-1] - old[0], LEAST_CLIMB * abs(usual))
        if not above or self._losses[-1] < usual + CLIMB * spread:
            return None
        if self._rate_has_risen():
            rates = f"{self._rates[0]:.3g} to {self._rates[-1]:.3g}"
            return self._open(frame, f"the learning rate is higher than it ever was ({rates})")
        return self._open(frame, "the gradient's norm climbs with it") if self._norm_has_risen() else None

    def _rate_has_risen(self) -> bool:
        before = max([self._highest_rate, *self._rates[:OLD_MARKS]])
        return self._rates[-1] > before and self._rates[-1] >= RATE_RISEN * self._rates[0] > 0.0

    def _norm_has_risen(self) -> bool:
        above = min(self._levels[OLD_MARKS:]) > max(self._levels[:OLD_MARKS])
        return above and self._levels[-1] > self._usual_level + NORM_RISEN

    @property
    def _usual_level(self) -> float:
        return sorted(self._levels[:OLD_MARKS])[OLD_MARKS // 2]

    def _open(self, frame: FrameView, why: str) -> EventUpdate:
        self._calm = 0
        peak = math.exp(self._levels[-1])
        fresh = Episode(frame.index, frame.step, frame.step, "warning", (), peak, math.exp(self._usual_level), peak)
        fresh.peak_step = frame.step
        self.episode = self._reopening.open(fresh)
        return self._tell(why)

    def _follow(self, frame: FrameView, *, above: bool) -> EventUpdate | None:
        """Carry an open warning on: told again when the norm has doubled, over when the loss climbs no more."""
        episode = self.episode
        assert episode is not None
        self._calm = 0 if above else self._calm + 1
        if self._calm == NEW_MARKS:
            return self._resolve(f"the loss climbs no more; it is {self._losses[-1]:.3g}", frame.index)
        if above:
            episode.last_step = frame.step
        doubled = episode.raise_peak(math.exp(self._levels[-1]), frame.step)
        return self._tell("the gradient's norm climbs with it") if doubled else None

    def _tell(self, why: str) -> EventUpdate:
        assert self.episode is not None
        usual = sorted(self._losses[:OLD_MARKS])[OLD_MARKS // 2]
        climb = f"from {usual:.3g} to {self._losses[-1]:.3g} within {REOPEN_FRAMES} steps"
        message = f"the loss climbs, {climb}, and {why}: runs that went on like this have exploded"
        return self.episode.update(KIND, "open", message)

    def _resolve(self, message: str, index: int) -> EventUpdate:
        assert self.episode is not None
        update = self.episode.update(KIND, "resolved", message)
        self._reopening.resolve(self.episode, index)
        self.episode = None
        return update

    def pack(self) -> bytes:
        filled = (len(self._norms), len(self._seen), len(self._losses))
        numbers = _NUMBERS.pack(self._highest_rate, self._calm, *filled)
        marks = np.array([*self._levels, *self._losses, *self._rates], "<f8").tobytes()
        block = np.array([*self._norms, *self._seen], "<f4").tobytes()
        return b"".join((numbers, marks, block, self._reopening.pack(), pack_episode(self.episode)))

    def unpack(self, data: bytes, offset: int) -> int:
        self._highest_rate, self._calm, norms, seen, marks = _NUMBERS.unpack_from(data, offset)
        offset += _NUMBERS.size
        remembered = np.frombuffer(data, "<f8", 3 * marks, offset).tolist()
        self._levels, self._losses = remembered[:marks], remembered[marks : 2 * marks]
        self._rates = remembered[2 * marks :]
        offset += 24 * marks
        block = np.frombuffer(data, "<f4", norms + seen, offset).tolist()
        self._norms, self._seen = block[:norms], block[norms:]
        offset += 4 * (norms + seen)
        self.episode, offset = unpack_episode(data, self._reopening.unpack(data, offset))
        return offset
