"""Every statement about checkpoints. Each names one run, and nothing here commits."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from gradvitals_service.checkpoints.judgement import Damage, Launch, Resume, Standing, choose, judge
from gradvitals_service.checkpoints.models import Checkpoint
from gradvitals_service.checkpoints.schemas import CheckpointSaved, CheckpointsDeclaration
from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.models import Event
from gradvitals_service.runs.models import Attempt

MOST_CHECKPOINTS = 1000  # that are looked at: the newest
MOST_EXPLOSIONS = 1000

_NAMESPACE = UUID("3a0f5c9e-52f4-4b0e-8a52-6f1f7e1f4a0d")


def checkpoint_id(path: str) -> UUID:
    """The same path is the same checkpoint's place."""
    return uuid5(_NAMESPACE, path)


def declare_checkpoints(session: Session, run_id: UUID, new: CheckpointsDeclaration) -> None:
    """Keep what was saved, and forget what was deleted. The caller holds the run's lock."""
    if session.get(Attempt, (run_id, new.attempt_id)) is None:
        raise NotFoundError(f"attempt {new.attempt_id} is not known here: declare it again, then send")
    for saved in new.saved:
        _keep(session, run_id, new.attempt_id, saved)
    gone = [checkpoint_id(path) for path in new.deleted]
    if gone:
        session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.checkpoint_id.in_(gone)))
    session.flush()


def read_standings(session: Session, run_id: UUID) -> list[Standing]:
    """The run's checkpoints as they are judged now, the newest first."""
    statement = (
        select(Checkpoint, Attempt.launch)
        .join(Attempt, (Attempt.run_id == Checkpoint.run_id) & (Attempt.attempt_id == Checkpoint.attempt_id))
        .where(Checkpoint.run_id == run_id)
        .order_by(Checkpoint.saved_at.desc(), Checkpoint.checkpoint_id)
        .limit(MOST_CHECKPOINTS)
    )
    checkpoints = [(row[0], row[1]) for row in session.execute(statement)]
    if not checkpoints:
        return []
    return judge(checkpoints, _launches(session, run_id), [*_spoiling(session, run_id), *_explosions(session, run_id)])


def read_resume(session: Session, run_id: UUID) -> Resume | None:
    """Which checkpoint to resume from; None where the run has told of none."""
    return choose(read_standings(session, run_id))


def newest_clean_before(session: Session, run_id: UUID, monitor: str, step: int) -> Checkpoint | None:
    """The newest clean checkpoint that holds no step of a monitor from ``step`` on."""
    for standing in read_standings(session, run_id):
        checkpoint = standing.checkpoint
        if standing.clean and checkpoint.steps.get(monitor, checkpoint.step) <= step:
            return checkpoint
    return None


def _keep(session: Session, run_id: UUID, attempt_id: UUID, saved: CheckpointSaved) -> None:
    """The newest word about a path holds; an attempt may say more of its own, such as that it is clean."""
    saved_at = datetime.fromtimestamp(saved.saved_at, UTC)
    key = (run_id, checkpoint_id(saved.path))
    row = session.get(Checkpoint, key)
    if row is None:
        row = Checkpoint(run_id=run_id, checkpoint_id=key[1], path=saved.path)
        session.add(row)
    elif row.saved_at > saved_at:
        return
    row.attempt_id, row.step, row.steps = attempt_id, saved.step, saved.steps
    row.saved_at, row.reported_clean = saved_at, saved.clean


def _launches(session: Session, run_id: UUID) -> list[Launch]:
    """The run's launches, oldest first."""
    started_at, first_step = func.min(Attempt.started_at), func.min(func.coalesce(Attempt.resumed_from_step, 0))
    statement = select(Attempt.launch, first_step).where(Attempt.run_id == run_id)
    statement = statement.group_by(Attempt.launch).order_by(started_at, Attempt.launch)
    return [Launch(launch, first) for launch, first in session.execute(statement)]


def _spoiling(session: Session, run_id: UUID) -> Sequence[Damage]:
    """Where a critical non-finite gradient came first in each stream: what comes after it is spoiled already."""
    stream = (Attempt.launch, Event.attempt_id, Event.monitor)
    statement = select(*stream, func.min(Event.start_step)).join_from(Event, Attempt, _same_attempt)
    statement = statement.where(*_critical(run_id, "non_finite")).group_by(*stream)
    return [Damage(*row[:3], "non_finite", row[3], None) for row in session.execute(statement)]


def _explosions(session: Session, run_id: UUID) -> Sequence[Damage]:
    """The newest critical explosions."""
    columns = (Attempt.launch, Event.attempt_id, Event.monitor, Event.kind, Event.start_step, Event.end_step)
    statement = select(*columns).join_from(Event, Attempt, _same_attempt).where(*_critical(run_id, "explosion"))
    statement = statement.order_by(Event.opened_at.desc(), Event.event_id).limit(MOST_EXPLOSIONS)
    return [Damage(*row) for row in session.execute(statement)]


_same_attempt = (Attempt.run_id == Event.run_id) & (Attempt.attempt_id == Event.attempt_id)


def _critical(run_id: UUID, kind: str) -> tuple[ColumnElement[bool], ...]:
    return (Event.run_id == run_id, Event.kind == kind, Event.severity == "critical")
