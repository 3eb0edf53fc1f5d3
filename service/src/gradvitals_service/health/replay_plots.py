"""Draw what a replay found beside the labels of its traces.

Labels are read here and nowhere else: they are drawn, and no detector sees them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradvitals_service.health.detectors import EventUpdate
from gradvitals_service.health.drawing import Picture, draw
from gradvitals_service.health.marks import Mark
from gradvitals_service.health.replay import Trace

_NOT_SCORED = "not scored"


def plot_trace(trace: Trace, events: Sequence[EventUpdate], file: Path) -> bytes:
    """A PNG of a trace, whose JSON beside ``file`` may have labels."""
    frames = trace.frames
    found = [Mark(event.kind, event.start_step, event.end_step) for event in events]
    rows: list[tuple[str, Sequence[Mark]]] = [("found", found)]
    if labels := read_labels(file):
        rows.append(("labelled", labels))
    picture = Picture(
        title=trace.name,
        step=frames.step,
        global_norm=frames.global_norm,
        max_norm=frames.max_norm,
        loss=frames.loss,
        layer_names=trace.layer_names,
        layer_norms=frames.group_norms,
        rows=rows,
    )
    return draw(picture)


def read_labels(file: Path) -> list[Mark]:
    """The labels of a trace, and the steps that its scorer ignores; what is not understood is left out."""
    side = json.loads(file.with_suffix(".json").read_text())
    labels = [mark for label in _dicts(side.get("labels")) if (mark := _mark(label, label.get("kind")))]
    ignored = [mark for span in _dicts(side.get("ignore")) if (mark := _mark(span, _NOT_SCORED))]
    return labels + ignored


def _dicts(content: Any) -> list[dict[str, Any]]:
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []


def _mark(label: dict[str, Any], kind: Any) -> Mark | None:
    start, end = label.get("start_step"), label.get("end_step")
    if isinstance(kind, str) and isinstance(start, int) and isinstance(end, int | None):
        return Mark(kind, start, end)
    return None
