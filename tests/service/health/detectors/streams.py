"""Streams of frames made by hand for the tests of the detectors."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors import Detectors, EventUpdate, Frames

SKIPPED_STEP = 4
SEAM = 16


def make_frames(
    group_norms: Any,
    *,
    loss: Any = None,
    clip_coefficient: Any = 1.0,
    max_norm: Any = math.inf,
    lr: Any = 0.1,
    flags: Any = 0,
    weights: dict[int, Any] | None = None,
) -> Frames:
    """Frames with these norms [n, G] of the groups; the global norm is that of all groups as one vector.

    ``weights`` are the norms of all groups' weights, by the row that measured them.
    """
    norms = np.asarray(group_norms, np.float32)
    n = len(norms)
    measured = weights or {}

    def column(values: Any, dtype: Any) -> NDArray[Any]:
        return np.broadcast_to(np.asarray(values, dtype), (n,))

    return Frames(
        first=0,
        step=np.arange(n),
        global_norm=np.sqrt(np.square(norms.astype(np.float64)).sum(axis=1)).astype(np.float32),
        clip_coefficient=column(clip_coefficient, np.float32),
        max_norm=column(max_norm, np.float32),
        lr=column(lr, np.float32),
        loss=column(math.nan if loss is None else loss, np.float32),
        has_loss=column(loss is not None, np.bool_),
        flags=column(flags, np.uint32),
        group_norms=norms,
        param_norms=np.repeat(np.array(list(measured.values()), np.float32)[:, None], norms.shape[1], axis=1),
        param_rows=np.array(list(measured), np.int64),
    )


def healthy(n: int, groups: int = 3, spread: float = 0.2, seed: int = 0) -> NDArray[np.float64]:
    """Norms [n, G] around 1 with log-normal noise."""
    return np.exp(np.random.default_rng(seed).normal(0.0, spread, (n, groups)))


def flat_loss(n: int, value: float = 1.0, seed: int = 0) -> NDArray[np.float64]:
    """A loss that stays at ``value`` within a few percent."""
    return value * (1.0 + 0.02 * np.random.default_rng(seed).standard_normal(n))


def judge(frames: Frames, detectors: Detectors | None = None) -> list[EventUpdate]:
    """The last word on every event of a stream."""
    return (detectors or Detectors(frames.group_norms.shape[1])).observe(frames)


def kinds(events: list[EventUpdate]) -> list[str]:
    return [event.kind for event in events]
