"""Tell how a run is: its summary for the overview, and everything that is known about it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from gradvitals_service.checkpoints.queries import read_resume
from gradvitals_service.health.models import Event
from gradvitals_service.health.schemas import CheckpointPlace, EventRead
from gradvitals_service.runs import queries
from gradvitals_service.runs.models import Attempt, Run
from gradvitals_service.runs.pace import Pace
from gradvitals_service.runs.queries import FrameCounts
from gradvitals_service.runs.schemas import (
    AttemptRead,
    EventMark,
    MonitorRead,
    ResumeRead,
    RunRead,
    RunSummary,
    SparklineRead,
)
from gradvitals_service.runs.standing import CALM, URGENCIES, Moment, health_of, state_of
from gradvitals_service.series.sparkline import Sparkline

SECONDS_WITHOUT_STEP = 60.0
STEPS_MISSED = 3  # a run that takes minutes a step still steps between them


def summarise(
    run: Run, project: str, open_events: Sequence[Event], recent_events: Sequence[Row[Any]], moment: Moment
) -> RunSummary:
    """One run as the overview shows it."""
    state = state_of(run.state, run.last_seen_at < moment.silent_before, is_overdue(run, moment))
    urgency = max((URGENCIES[event.severity] for event in open_events), default=CALM)
    return RunSummary.model_validate(
        {
            "run_id": run.run_id,
            "project": project,
            "name": run.name,
            "owner": run.owner,
            "group": run.group_name,
            "tags": run.tags,
            "state": state,
            "health": health_of(urgency, run.last_step is not None, run.already_clipped),
            "created_at": run.created_at,
            "last_seen_at": run.last_seen_at,
            "last_step": run.last_step,
            "step_rate": _step_rate(run, moment.now) if state == "running" else None,
            "waiting_since": run.waiting_since,
            "global_norm": run.global_norm,
            "loss": run.loss,
            "clip_rate": run.clipped_frames / run.judged_frames if run.judged_frames else None,
            "max_norm": run.max_norm,
            "sparkline": SparklineRead(**Sparkline.from_bytes(run.sparkline).columns()),
            "open_events": [EventRead.model_validate(event) for event in open_events],
            "recent_events": [EventMark.model_validate(event) for event in recent_events],
        }
    )


def is_overdue(run: Run, moment: Moment) -> bool:
    """Whether the run's next step has been waited for longer than it ever took."""
    return run.overdue_at is not None and run.overdue_at < moment.due_before


def _step_rate(run: Run, now: datetime) -> float | None:
    """How fast the run steps now, which one that has not stepped for a while does not."""
    rate = Pace.from_bytes(run.pace).step_rate
    if rate is None or rate <= 0 or run.waiting_since is None:
        return None
    waited = (now - run.waiting_since).total_seconds()
    return rate if waited <= max(SECONDS_WITHOUT_STEP, STEPS_MISSED / rate) else None


def read_run_detail(session: Session, run_id: UUID, moment: Moment) -> RunRead:
    """Everything about one run but its frames."""
    run = queries.get_run(session, run_id)
    open_events = queries.open_events_of(session, run_id)
    recent_events = queries.recent_events(session, [run_id])[run_id]
    summary = summarise(run, queries.project_name(session, run.project_id), open_events, recent_events, moment)
    attempts = queries.attempts_of(session, run_id)
    counts = queries.count_frames_of_attempts(session, run_id)
    of_rank_0 = FrameCounts.total(_count(counts, attempt) for attempt in attempts if attempt.rank == 0)
    return RunRead(
        **dict(summary),
        config=run.config,
        links=run.links,
        versions=run.versions,
        attempts=[_read_attempt(attempt, _count(counts, attempt)) for attempt in attempts],
        monitors=list(queries.monitors_of(session, run_id)),
        frames=of_rank_0.stored,
        lost=of_rank_0.lost,
        event_revision=run.event_revision,
        resume_from=_read_resume(session, run_id),
    )


def _read_resume(session: Session, run_id: UUID) -> ResumeRead | None:
    resume = read_resume(session, run_id)
    if resume is None:
        return None
    newest = resume.newest_clean
    place = None if newest is None else CheckpointPlace(path=newest.path, step=newest.step)
    return ResumeRead(newest_clean=place, not_clean=resume.not_clean)


def _count(counts: Mapping[UUID, FrameCounts], attempt: Attempt) -> FrameCounts:
    return counts.get(attempt.attempt_id, FrameCounts(0, 0))


def _read_attempt(attempt: Attempt, counted: FrameCounts) -> AttemptRead:
    of_row = AttemptRead.model_fields.keys() - {"monitors", *FrameCounts._fields}
    said = {name: getattr(attempt, name) for name in of_row}
    monitors = {name: MonitorRead.model_validate(monitor) for name, monitor in attempt.monitors.items()}
    return AttemptRead.model_validate(said | counted._asdict() | {"monitors": monitors})
