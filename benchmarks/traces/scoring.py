"""Count what detections found in labelled runs, and what they made up.

A label is found by a detection of its kind that starts within its window, one detection for one label. Any other
detection is a false alarm, unless it starts inside a labelled event of any kind or shortly after, between a cause and
what it caused, or in a span to ignore: then it is late, which costs nothing. An overflow that a loss scaler handled
need not be told as non-finite, and must not be called anything else.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

KINDS: Final = ("explosion", "vanishing", "non_finite")

EARLY: Final = 2
WINDOW: Final = {"explosion": 10, "non_finite": 10, "vanishing": 200}
GRADUAL_WINDOW: Final = {"explosion": 100, "non_finite": 100, "vanishing": 300}
"""Steps before and after the start of a label within which it counts as found."""

AFTERMATH: Final = 100
"""Steps after an event in which nothing is healthy and nothing a false alarm."""

Detection = Mapping[str, Any]


@dataclass(slots=True)
class Tally:
    """What was found and made up of one kind, in any number of runs."""

    delays: list[int] = field(default_factory=list)
    missed: list[tuple[str, int]] = field(default_factory=list)  # run and step
    false_alarms: list[tuple[str, int]] = field(default_factory=list)
    late: int = 0
    healthy_steps: int = 0

    @property
    def recall(self) -> float | None:
        labels = len(self.delays) + len(self.missed)
        return len(self.delays) / labels if labels else None

    @property
    def precision(self) -> float | None:
        raised = len(self.delays) + len(self.false_alarms)
        return len(self.delays) / raised if raised else None

    @property
    def false_alarms_per_10_000(self) -> float:
        return 1e4 * len(self.false_alarms) / max(self.healthy_steps, 1)

    @property
    def median_delay(self) -> float | None:
        return statistics.median(self.delays) if self.delays else None

    @property
    def mistakes(self) -> int:
        return len(self.missed) + len(self.false_alarms)


Tallies = dict[str, Tally]


def read_labels(folder: Path) -> dict[str, dict[str, Any]]:
    """What is known of each run of a folder of traces, by name."""
    sides = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    return {name: side for name, side in sides.items() if "labels" in side and "layer_names" in side}


def score_run(name: str, side: Mapping[str, Any], detections: Iterable[Detection]) -> Tallies:
    """Compare the detections of one run with its labels."""
    spans, steps = _spans_without_false_alarms(side), side["steps"]
    healthy = np.ones(steps, np.bool_)
    for start, end in spans:
        healthy[max(start, 0) : end + 1] = False
    by_start = sorted(detections, key=lambda detection: int(detection["start_step"]))
    tallies = {}
    for kind in KINDS:
        starts = [int(detection["start_step"]) for detection in by_start if detection["kind"] == kind]
        labels = [label for label in side["labels"] if label["kind"] == kind]
        tallies[kind] = _score_kind(name, labels, starts, spans, steps)
        tallies[kind].healthy_steps = int(healthy.sum())
    return tallies


def _score_kind(
    name: str, labels: Sequence[Mapping[str, Any]], starts: list[int], spans: Sequence[tuple[int, int]], steps: int
) -> Tally:
    tally, left = Tally(), list(starts)
    for label in labels:
        begin, end = label["start_step"], _end(label, steps)
        if label.get("benign_amp"):
            left = [start for start in left if not begin - EARLY <= start <= end + EARLY]
            continue
        window = (GRADUAL_WINDOW if label.get("gradual") else WINDOW)[label["kind"]]
        found = next((start for start in left if begin - EARLY <= start <= begin + window), None)
        if found is None:
            tally.missed.append((name, begin))
        else:
            left.remove(found)
            tally.delays.append(found - begin)
    for start in left:
        if any(first <= start <= last for first, last in spans):
            tally.late += 1
        else:
            tally.false_alarms.append((name, start))
    return tally


def _spans_without_false_alarms(side: Mapping[str, Any]) -> list[tuple[int, int]]:
    steps, spans = side["steps"], []
    for label in side["labels"]:
        if label.get("benign_amp"):
            continue
        end = steps if label["end_step"] is None else label["end_step"] + AFTERMATH
        spans.append((label["start_step"] - EARLY, end))
        if label.get("cause_step") is not None:
            spans.append((label["cause_step"] - EARLY, label["start_step"]))
    return spans + [(span["start_step"], _end(span, steps)) for span in side.get("ignore", ())]


def _end(event: Mapping[str, Any], steps: int) -> int:
    return steps if event["end_step"] is None else int(event["end_step"])


def add(many: Iterable[Tallies]) -> Tallies:
    """All runs together."""
    total = {kind: Tally() for kind in KINDS}
    for tallies in many:
        for kind, tally in tallies.items():
            total[kind].delays += tally.delays
            total[kind].missed += tally.missed
            total[kind].false_alarms += tally.false_alarms
            total[kind].late += tally.late
            total[kind].healthy_steps += tally.healthy_steps
    return total


def rows(tallies: Tallies, **first: Any) -> list[dict[str, Any]]:
    """A table of a row for each kind, with the columns ``first`` in front."""
    return [
        {
            **first,
            "kind": kind,
            "labels": len(tally.delays) + len(tally.missed),
            "recall": tally.recall,
            "precision": tally.precision,
            "false alarms": len(tally.false_alarms),
            "per 10,000": tally.false_alarms_per_10_000,
            "median delay": tally.median_delay,
            "late": tally.late,
        }
        for kind, tally in tallies.items()
    ]
