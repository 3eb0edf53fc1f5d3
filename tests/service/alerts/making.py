"""A run, an event and a checkpoint, as rows that are in no database."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from gradvitals_service.checkpoints.judgement import Resume
from gradvitals_service.checkpoints.models import Checkpoint
from gradvitals_service.health.models import Event
from gradvitals_service.runs.models import Run

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def make_run(**changes: Any) -> Run:
    """A run in the middle of an explosion."""
    values = {
        "run_id": UUID(int=1),
        "project_id": UUID(int=2),
        "name": "gru, plain",
        "owner": "ada",
        "last_step": 2050,
        "global_norm": 1234.5,
        "loss": 0.75,
        "max_norm": float("inf"),
    }
    return Run(**values | changes)


def make_event(**changes: Any) -> Event:
    """The explosion that docs/wire.md shows."""
    values = {
        "run_id": UUID(int=1),
        "event_id": UUID(int=3),
        "attempt_id": UUID(int=4),
        "monitor": "main",
        "rank": 0,
        "kind": "explosion",
        "severity": "critical",
        "status": "open",
        "start_step": 2041,
        "opened_at": NOON,
        "peak": 1234.5,
        "times_usual": 812.0,
        "usual": 1.52,
        "layers": ["gru.weight_hh_l0"],
        "message": "the global norm is 812 times its usual 1.52",
    }
    return Event(**values | changes)


def make_resume(path: str, step: int, not_clean: int) -> Resume:
    """A clean checkpoint, with ``not_clean`` newer ones that are not."""
    return Resume(Checkpoint(path=path, step=step), not_clean)
