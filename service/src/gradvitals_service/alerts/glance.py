"""The newest steps of a run as a picture tells them: numbers and words, before anything is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.marks import Mark
from gradvitals_service.series.downsample import Buckets


@dataclass(frozen=True, slots=True)
class Glance:
    """Metrics in the buckets that begin at ``step``; where nothing was logged, nothing is drawn."""

    name: str
    project: str
    words: str
    step: NDArray[np.int64]
    norm: Buckets
    max_norm: Buckets  # not finite where nothing clips
    loss: Buckets
    marks: Sequence[Mark] = field(default=())
    lost: Sequence[tuple[int, int]] = field(default=())  # first and last step of what nobody knows
