"""Say what is wrong with a run by training it again without what made it wrong.

No detector is asked. Where something was injected, the copy that was spared it says what the norms would have been.
Where nothing was, a copy that clips a suspicious spike says whether the spike did harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DEPARTED: Final = 3.0
EXPLODED: Final = 8.0
"""An explosion is a stretch above three times the twin's norm that reaches eight times, and also eight times the run's
own norm of before: a twin that has learned everything is no measure."""

VANISHED: Final = 0.01
FAINT: Final = 0.1
"""A layer has vanished below a hundredth of the twin's norm; up to a tenth it may be told, and need not be."""

SMOOTH: Final = 8
"""Layers are compared by the largest norm of so many steps: lucky batches and idle ones are part of life."""

LASTS: Final = 60
"""Steps that a layer must stay below before it counts."""

BACK: Final = 20
"""Steps in a row below three times the twin that end an explosion; a shorter break is part of it."""

HARM_STEPS: Final = 40
HARM: Final = 1.3
BENIGN: Final = 1.12
"""A spike is harmful if clipping it lowers the mean loss of the next 40 steps by more than 30 %, benign below 12 %."""

SPIKE: Final = 4.0
NATURAL: Final = 10.0
NATURAL_WITHIN: Final = 12
"""Above four times its running median a norm is tried; a label must reach ten times within so many steps, or it is
another spike."""

GRADUAL: Final = 5
GRADUAL_LAG: Final = 40
"""More steps than this between departure and eight times the twin make it a gradual one, or between cause and
departure: then it has built up unseen."""

INFINITE: Final = 1e30


def explosion(
    norms: NDArray[np.float64], twin: NDArray[np.float64], cause_step: int, before: float = 0.0
) -> list[dict[str, Any]]:
    """The first departure from the twin, as label; both series begin at ``cause_step``, and ``before`` is the median of
    the run's own norms until then."""
    ratios = _ratios(norms, twin)
    reached = np.flatnonzero((ratios >= EXPLODED) & (np.nan_to_num(norms, nan=math.inf) >= EXPLODED * before))
    if not len(reached):
        return []
    first = int(reached[0])
    below = np.flatnonzero(ratios[:first] <= DEPARTED)
    start = int(below[-1]) + 1 if len(below) else 0
    if not math.isfinite(norms[start]):  # a NaN out of nowhere is not a norm that grew
        return []
    end = _last_before_calm(ratios[first:] > DEPARTED) + first
    verified = {"peak_ratio_vs_twin": _bounded(ratios[start : end + 1].max()), "onset_lag": start, "first_8x": first}
    label = _label("explosion", cause_step + start, None if end == len(ratios) - 1 else cause_step + end, None)
    label |= {"cause_step": cause_step, "verified": verified}
    return [label | {"gradual": True} if first - start > GRADUAL or start > GRADUAL_LAG else label]


def loss_ratio(losses: NDArray[np.float64], twin: NDArray[np.float64]) -> float | None:
    """How much worse the next 40 losses are than the twin's; None where losses may be negative."""
    mine, its = losses[:HARM_STEPS], twin[:HARM_STEPS]
    n = min(len(mine), len(its))
    if not n or (its[:n] < 0.0).any() or (mine[:n] < 0.0).any():
        return None
    if not np.isfinite(mine).all():
        return INFINITE
    return _bounded(float(mine[:n].mean()) / max(float(its[:n].mean()), 1e-30))


def vanishing(
    norms: NDArray[np.float64], twin: NDArray[np.float64], layers: Sequence[str], cause_step: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Layers [n, L] that stay below a hundredth of the twin's, as label; those below a tenth as span to ignore."""
    usable: NDArray[np.bool_] = np.isfinite(np.concatenate([norms, twin], axis=1)).all(axis=1)
    n = len(usable) if usable.all() else int(np.argmin(usable))
    if n < LASTS:
        return [], []
    mine, its = _smoothed(norms[:n]), _smoothed(twin[:n])
    shares = np.where(its > 0.0, mine / np.maximum(its, 1e-45), 1.0)
    stretches = {layer: _stretch(shares[:, place] < VANISHED) for place, layer in enumerate(layers)}
    gone = {layer: stretch for layer, stretch in stretches.items() if stretch is not None}
    if not gone:
        faint = [s for place in range(len(layers)) if (s := _stretch(shares[:, place] < FAINT)) is not None]
        if not faint:
            return [], []
        span = {"start_step": cause_step, "end_step": cause_step + max(end for _, end in faint)}
        return [], [span | {"reason": "a layer stays between a hundredth and a tenth of the twin's norm"}]
    start = min(begin for begin, _ in gone.values())
    end = max(stop for _, stop in gone.values())
    ratio = min(float(shares[begin : stop + 1, layers.index(layer)].min()) for layer, (begin, stop) in gone.items())
    label = _label("vanishing", cause_step + start, None if end == n - 1 else cause_step + end, list(gone))
    label |= {"cause_step": cause_step, "verified": {"smallest_ratio_vs_twin": ratio, "onset_lag": start}}
    return [label | {"gradual": True} if start > LASTS else label], []


def spike(norms: NDArray[np.float64], losses: NDArray[np.float64], clipped: NDArray[np.float64], median: float) -> str:
    """The verdict on a spike: what came after it, beside the losses of a copy that was clipped to the median."""
    ratio = loss_ratio(losses, clipped)
    if ratio is None or ratio < BENIGN:
        return "benign"
    rise = norms[: NATURAL_WITHIN + 1]
    reaches = bool((np.where(np.isfinite(rise), rise, math.inf) >= NATURAL * median).any())
    return "harmful" if ratio > HARM and reaches else "ambiguous"


def natural_label(norms: NDArray[np.float64], median: float, step: int, ratio: float | None) -> dict[str, Any]:
    """The label of a harmful spike; ``norms`` begin at its step."""
    ratios = np.where(np.isfinite(norms), norms, math.inf) / median
    end = _last_before_calm(ratios > DEPARTED)
    first = int(np.argmax(ratios >= NATURAL))
    label = _label("explosion", step, None if end == len(ratios) - 1 else step + end, None)
    label |= {
        "cause_step": None,
        "verified": {"ratio_to_median": _bounded(ratios[0]), "harm_loss_ratio_40": ratio, "first_10x": step + first},
    }
    return label | {"gradual": True} if first > GRADUAL else label


def non_finite(broken: NDArray[np.bool_], skipped: NDArray[np.bool_], layers: Sequence[str]) -> list[dict[str, Any]]:
    """A label for each stretch of steps with an element that is NaN or infinite; breaks below 20 steps are part of it
    unless a loss scaler skipped the steps."""
    labels: list[dict[str, Any]] = []
    rows = np.flatnonzero(broken.any(axis=1)).tolist()
    while rows:
        start, benign = rows[0], bool(skipped[rows[0]])
        patience = 1 if benign else BACK
        end = start
        while rows and rows[0] - end <= patience:
            end = rows.pop(0)
        names = [layers[place] for place in np.flatnonzero(broken[start]).tolist()]
        label = _label("non_finite", start, None if end == len(broken) - 1 else end, names)
        labels.append(label | {"benign_amp": True} if benign else label)
    return labels


def _label(kind: str, start: int, end: int | None, layers: list[str] | None) -> dict[str, Any]:
    return {"kind": kind, "start_step": start, "end_step": end, "layers": layers}


def _ratios(norms: NDArray[np.float64], twin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Norm over the twin's, which is taken for no less than the median of the 17 steps around: single steps of a noisy
    run may have next to no gradient."""
    padded = np.pad(twin, SMOOTH, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * SMOOTH + 1), axis=1)
    mine = np.where(np.isfinite(norms), norms, math.inf)
    ratios: NDArray[np.float64] = mine / np.maximum(np.maximum(twin, usual), 1e-45)
    return ratios


def _smoothed(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest of each step and the seven after it, so that a fall begins where it begins."""
    padded = np.concatenate([norms, np.repeat(norms[-1:], SMOOTH - 1, axis=0)])
    largest: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(padded, SMOOTH, axis=0).max(axis=-1)
    return largest


def _last_before_calm(departed: NDArray[np.bool_]) -> int:
    """The last departed step before ``BACK`` steps that are not; the very last step if there is no such calm."""
    calm = 0
    for place, out in enumerate(departed.tolist()):
        calm = 0 if out else calm + 1
        if calm == BACK:
            return place - BACK
    return len(departed) - 1


def _stretch(below: NDArray[np.bool_]) -> tuple[int, int] | None:
    """The first stretch of true that is long enough, as first and last place."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], below, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - start >= LASTS:
            return start, stop - 1
    return None


def _bounded(ratio: float) -> float:
    return float(min(ratio, INFINITE)) if not math.isnan(ratio) else INFINITE
