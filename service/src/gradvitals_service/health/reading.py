"""Give the evidence of an event as columns of plain values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.errors import DamagedError
from gradvitals_service.health.models import Event, EventEvidence
from gradvitals_service.series import flags
from gradvitals_service.series.codec import (
    COLUMN_TYPES,
    ChunkColumns,
    CorruptChunkError,
    decode_chunk_columns,
)


def evidence_as_json(event: Event, evidence: EventEvidence) -> dict[str, Any]:
    """What docs/wire.md says of the evidence of an event; DamagedError where the disk has spoiled it."""
    try:
        frames = decode_chunk_columns(evidence.columns, evidence.layer_columns, len(evidence.layers))
    except CorruptChunkError as error:
        raise DamagedError(f"the evidence of event {event.event_id} is damaged: {error}") from error
    start_row = int(np.searchsorted(frames.columns["step"], event.start_step))
    coefficient = frames.columns["clip_coefficient"]
    return {
        "event_id": event.event_id,
        "run_id": event.run_id,
        "attempt_id": evidence.attempt_id,
        "monitor": evidence.monitor,
        "complete": evidence.complete,
        "start_row": start_row,
        "last_healthy_step": evidence.last_healthy_step,
        "clean_checkpoint": evidence.clean_checkpoint,
        "clip_rate_before": _clip_rate(coefficient[:start_row]),
        "clip_rate_after": _clip_rate(coefficient[start_row:]),
        "columns": _columns(frames),
        "scalars": {name: _where(present, values) for name, (present, values) in frames.scalars.items()},
        "layers": [
            {"name": name, "norms": frames.layer_norms[:, place].tolist()} for place, name in enumerate(evidence.layers)
        ],
    }


def _columns(frames: ChunkColumns) -> dict[str, Any]:
    columns: dict[str, Any] = {name: frames.columns[name].tolist() for name in COLUMN_TYPES}
    columns["loss"] = _where((frames.columns["flags"] & flags.LOSS) != 0, frames.columns["loss"])
    batch_ids = {detail["row"]: detail["batch_id"] for detail in frames.details}
    return columns | {"batch_id": [batch_ids.get(row) for row in range(len(frames))]}


def _where(present: NDArray[np.bool_], values: NDArray[Any]) -> list[Any]:
    """The values, and None where there is none."""
    return [value if there else None for there, value in zip(present.tolist(), values.tolist(), strict=True)]


def _clip_rate(coefficient: NDArray[Any]) -> float | None:
    """The share of clipped frames among those whose coefficient is known."""
    known = coefficient[np.isfinite(coefficient)]
    return float((known < 1.0).mean()) if len(known) else None
