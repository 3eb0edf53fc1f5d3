"""What goes into the detectors and what comes out.

``Frames`` is the columnar block that callers hand over, ``FrameView`` one row of it as plain Python numbers, which is
what a detector looks at where something stirs, and ``EventUpdate`` what a detector says about one event.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["non_finite", "explosion", "vanishing", "clip_saturation", "instability"]
Severity = Literal["info", "warning", "critical"]
Status = Literal["open", "resolved"]

FLAG_SKIPPED_STEP = 4  # docs/wire.md: the optimizer did not step
FLAG_SEAM = 16  # docs/wire.md: first frame after a resume


@dataclass(slots=True)  # frozen, it would take twice as long to make
class FrameView:
    """One frame. A loss that was not logged, or is not finite, is NaN."""

    index: int
    step: int
    global_norm: float
    clip_coefficient: float
    max_norm: float
    lr: float
    loss: float
    flags: int
    group_norms: NDArray[np.float32]

    @property
    def skipped(self) -> bool:
        """The optimizer did not step, so this gradient reached no weight."""
        return bool(self.flags & FLAG_SKIPPED_STEP)

    def shares_of(self, groups: Iterable[int]) -> tuple[float, ...]:
        """Each group's share of this frame's squared norm, to single precision; none where that is not a number."""
        squares = np.square(self.group_norms.astype(np.float64))
        total = float(squares.sum())
        if not 0.0 < total < math.inf:
            return ()
        return tuple(float(np.float32(squares[group] / total)) for group in groups)


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive frames of one stream, with layers already grouped by module.

    ``first`` is the index in the stream of row 0. Columns have n rows, ``group_norms`` is [n, G]; ``param_norms`` [m,
    G] holds weight norms for the rows named by ``param_rows``. ``loss`` counts only where ``has_loss`` is true.
    """

    first: int
    step: NDArray[np.int64]
    global_norm: NDArray[np.float32]
    clip_coefficient: NDArray[np.float32]
    max_norm: NDArray[np.float32]
    lr: NDArray[np.float32]
    loss: NDArray[np.float32]
    has_loss: NDArray[np.bool_]
    flags: NDArray[np.uint32]
    group_norms: NDArray[np.float32]
    param_norms: NDArray[np.float32]
    param_rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.step)

    def rows(self, start: int, stop: int) -> "Frames":
        """The frames ``start`` up to ``stop`` of this block, counted from its own first row."""
        part = slice(start, stop)
        weights = (self.param_rows >= start) & (self.param_rows < stop)
        return replace(
            self,
            first=self.first + start,
            step=self.step[part],
            global_norm=self.global_norm[part],
            clip_coefficient=self.clip_coefficient[part],
            max_norm=self.max_norm[part],
            lr=self.lr[part],
            loss=self.loss[part],
            has_loss=self.has_loss[part],
            flags=self.flags[part],
            group_norms=self.group_norms[part],
            param_norms=self.param_norms[weights],
            param_rows=self.param_rows[weights] - start,
        )

    def are_finite(self) -> list[bool]:
        """Whether a frame's norms, the global one and those of all groups, are finite."""
        if math.isfinite(np.vdot(self.group_norms, self.group_norms)):  # only if each of them is
            return [math.isfinite(norm) for norm in self.global_norm.tolist()]
        finite: list[bool] = (np.isfinite(self.global_norm) & np.isfinite(self.group_norms).all(axis=1)).tolist()
        return finite

    def logged_losses(self) -> list[float]:
        """The losses, with NaN for one that was not logged."""
        losses = zip(self.loss.tolist(), self.has_loss.tolist(), strict=True)
        return [loss if logged else math.nan for loss, logged in losses]

    def view(self, row: int) -> FrameView:
        """One row as plain numbers."""
        loss = self.loss.item(row)
        return FrameView(
            index=self.first + row,
            step=self.step.item(row),
            global_norm=self.global_norm.item(row),
            clip_coefficient=self.clip_coefficient.item(row),
            max_norm=self.max_norm.item(row),
            lr=self.lr.item(row),
            loss=loss if self.has_loss.item(row) and math.isfinite(loss) else math.nan,
            flags=self.flags.item(row),
            group_norms=self.group_norms[row],
        )


@dataclass(frozen=True, slots=True)
class EventUpdate:
    """The newest word on one event, which is known by its kind and ``start_frame``.

    ``start_step`` is the step at which the alarm was raised, ``end_step`` the last step that was not healthy, known
    once the event is resolved. ``times_usual`` is the peak over ``usual``; for vanishing it is the weakest group's
    share of its usual norm, for clip_saturation the typical clip coefficient, and there is no ``peak``. ``groups`` are
    indices of groups, empty where all or none stand out. ``shares`` are theirs of the squared norm, at the peak where
    there is one, else when they were named; empty where that is not known. ``weights_finite`` is None where the weights
    were not measured since they may have been spoiled.
    """

    kind: Kind
    status: Status
    start_frame: int
    start_step: int
    end_step: int | None
    severity: Severity
    peak: float | None
    times_usual: float | None
    usual: float | None
    groups: tuple[int, ...]
    message: str
    peak_step: int | None = None
    shares: tuple[float, ...] = ()
    weights_finite: bool | None = None


Told = list[tuple[int, EventUpdate]]
"""What one detector has to say about a block, each with the row that made it speak."""
