"""Say what a metric's name stands for: a column of the chunk, what follows from one, or a logged scalar. Pure."""

from collections.abc import Iterable

import numpy as np

from gradvitals_service.series import flags
from gradvitals_service.series.codec import COLUMN_TYPES, Columns, scalar_key
from gradvitals_service.series.downsample import Column

STANDARD_METRICS = ("global_norm", "loss", "clip_coefficient", "max_norm", "lr")
# What every frame has, beside the scalars that were logged.
FRAME_METRICS = (*STANDARD_METRICS, "loss_scale", "clip_rate", "time")
_COLUMNS = frozenset((*STANDARD_METRICS, "loss_scale", "time"))
_TAKEN_FROM = {"clip_rate": ("clip_coefficient",), "loss": ("loss", "flags")}


def columns_for(metrics: Iterable[str]) -> set[str]:
    """The keys of the columns that some metrics are made of."""
    needed: set[str] = set()
    for name in metrics:
        needed.update(_TAKEN_FROM.get(name, (name if name in _COLUMNS else scalar_key(name),)))
    return needed


def scalar_name(metric: str) -> str:
    """The name under which a metric's scalar was logged: the reverse of ``scalar_key``."""
    plain = metric.removeprefix("scalar:")
    return plain if plain in COLUMN_TYPES else metric


def metric_column(columns: Columns, name: str) -> Column:
    """One metric over the frames of a chunk; a name that nobody logged is absent everywhere.

    ``clip_rate`` is 1 on a step that was clipped and 0 on one that was not, so that its mean is the share. A learning
    rate of NaN says that there is none. ``time`` is that of the client in seconds since 1970, so that the smallest of a
    bucket says when it began. A scalar with a column's name is asked for as ``scalar:<name>``.
    """
    if name == "clip_rate":
        coefficient = columns["clip_coefficient"]
        return Column((coefficient < 1).astype(np.float64), ~np.isnan(coefficient))
    if name not in _COLUMNS:
        return _scalar(columns, scalar_key(name))
    values = columns[name].astype(np.float64)
    if name == "loss":
        return Column(values, (columns["flags"] & flags.LOSS) != 0)
    if name == "lr":
        return Column(values, ~np.isnan(values))
    return Column(values, np.ones(len(values), np.bool_))


def _scalar(columns: Columns, key: str) -> Column:
    if key not in columns.present:
        count = len(columns["step"])
        return Column(np.zeros(count), np.zeros(count, np.bool_))
    return Column(columns[key].astype(np.float64), columns.present[key])
