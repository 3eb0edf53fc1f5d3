"""Find where an event began, from the frames up to the one that raised the alarm: which step was bad first, which
was healthy last, which layer left its usual first.

Pure and causal. Frames that come later change none of it, so an event says the same of its beginning for ever.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors.explosion import LEVEL_FRAMES, RAISED, WATCH_FRAMES
from gradvitals_service.health.origin import first_bad_layer
from gradvitals_service.health.surroundings import Surroundings
from gradvitals_service.series import flags

FRAMES_BEFORE = 200
"""Frames before the alarm that are looked at: several levels long, and what the evidence keeps."""

KNOWN_FRAMES = 8
"""Frames from which on a median says what is usual, as for the detectors' level."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Onset:
    """The frames up to the alarm, which is the last row; ``began`` is the row of the first bad step.

    A loss that was not logged is NaN, as is one that is not finite: ``loss_is_bad`` tells them apart. ``left`` are the
    groups that are above their usual in the worst of the bad rows.
    """

    kind: str
    frame: NDArray[np.int64]
    step: NDArray[np.int64]
    global_norm: Array
    loss: Array
    loss_is_bad: NDArray[np.bool_]
    lr: Array
    loss_scale: Array
    max_norm: Array
    clip_coefficient: Array
    skipped: NDArray[np.bool_]
    group_norms: Array
    batch_ids: dict[int, str]  # by row
    began: int
    left: tuple[int, ...]
    first_layer: str | None

    @property
    def last_healthy_step(self) -> int | None:
        """The last step before it whose gradient was finite; None where that is not known."""
        finite = np.flatnonzero(np.isfinite(self.global_norm[: self.began]))
        return int(self.step[finite[-1]]) if len(finite) else None

    @property
    def batch_id(self) -> str | None:
        """What the user called the batch of the first bad step."""
        return self.batch_ids.get(self.began)


def find_onset(kind: str, around: Surroundings) -> Onset:
    """Look at the frames up to an alarm of this kind."""
    seen = around.until_start()
    columns = seen.frames.columns
    norm = columns["global_norm"].astype(np.float64)
    layer_norms = around.groups.heeded(seen.frames.layer_norms)
    group_norms = around.groups.norms(layer_norms).astype(np.float64)
    began = _first_raised(norm) if kind == "explosion" else len(norm) - 1
    left: tuple[int, ...] = ()
    first_layer = None
    if kind == "explosion":
        left, first = _groups_that_left(group_norms, norm, began)
        named = around.groups.tensors_of([] if first is None else [first], layer_norms[began])
        first_layer = named[0] if named else None
    elif kind == "non_finite":
        first_layer = first_bad_layer(around.groups.layer_names, layer_norms[-1])
    logged = (columns["flags"] & flags.LOSS) != 0
    finite = np.isfinite(columns["loss"])
    return Onset(
        kind=kind,
        frame=seen.frame,
        step=columns["step"],
        global_norm=norm,
        loss=np.where(logged & finite, columns["loss"], np.nan).astype(np.float64),
        loss_is_bad=logged & ~finite,
        lr=columns["lr"].astype(np.float64),
        loss_scale=columns["loss_scale"].astype(np.float64),
        max_norm=columns["max_norm"].astype(np.float64),
        clip_coefficient=columns["clip_coefficient"].astype(np.float64),
        skipped=(columns["flags"] & flags.SKIPPED_STEP) != 0,
        group_norms=group_norms,
        batch_ids={detail["row"]: detail["batch_id"] for detail in seen.frames.details if detail["batch_id"]},
        began=began,
        left=left,
        first_layer=first_layer,
    )


def usual(values: Array, end: int, frames: int = LEVEL_FRAMES) -> float:
    """The median of the finite positive values before row ``end``; NaN where there are too few to say."""
    return float(usual_of_each(values[:, None], end, frames)[0])


def usual_of_each(values: Array, end: int, frames: int = LEVEL_FRAMES) -> Array:
    """The same for each column of [n, G]."""
    before = values[max(end - frames, 0) : end]
    counts = (known := (before > 0.0) & np.isfinite(before)).sum(axis=0)
    if not counts.any():
        return np.full(values.shape[1], np.nan)
    ordered = np.sort(np.where(known, before, np.nan), axis=0)  # NaN come last
    middle = np.maximum(np.array([(counts - 1) // 2, counts // 2]), 0)
    medians = np.take_along_axis(ordered, middle, axis=0).mean(axis=0)
    return np.where(counts >= KNOWN_FRAMES, medians, np.nan)


def _first_raised(norm: Array) -> int:
    """The earliest row that the alarm in the last one can be about: the detector looks back so far."""
    alarm = len(norm) - 1
    since = max(alarm - WATCH_FRAMES, 0)
    limit = usual(norm, since) * np.exp(RAISED)
    raised = np.flatnonzero(norm[since:] > limit)
    return since + int(raised[0]) if len(raised) else alarm


def _groups_that_left(group_norms: Array, norm: Array, began: int) -> tuple[tuple[int, ...], int | None]:
    """The groups above three times their usual at the worst step, and the one that was there before all others.

    Each is followed back from the worst step for as long as it was above without a break.
    """
    if not group_norms.shape[1]:
        return (), None
    worst = began + int(np.argmax(np.nan_to_num(norm[began:])))
    since = max(began - WATCH_FRAMES, 0)
    raised = group_norms[since : worst + 1] > usual_of_each(group_norms, since) * np.exp(RAISED)
    left = np.flatnonzero(raised[-1])
    if not len(left):
        return (), None
    back = np.minimum.accumulate(raised[::-1, left], axis=0).sum(axis=0)  # how many rows each has been above
    earliest = left[back == back.max()]
    return tuple(left.tolist()), int(earliest[0]) if len(earliest) == 1 else None
