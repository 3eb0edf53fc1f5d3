"""Every statement about runs, attempts and layouts. Nothing here commits.

Whoever writes about a run holds its row's lock (``lock_run``), which is the only lock there is.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from gradvitals_service.database import insert_if_absent
from gradvitals_service.errors import ConflictError, NotFoundError, OverloadedError
from gradvitals_service.health.models import Event
from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.layouts import pack_layers
from gradvitals_service.runs.models import Attempt, Layout, Run
from gradvitals_service.runs.schemas import FINAL_STATES, AttemptDeclaration, LayerDeclaration, RunDeclaration
from gradvitals_service.runs.standing import PATIENCE_BEFORE_FIRST_STEP, UNREACHABLE_AFTER, patience

MOST_EVENTS_AN_ANSWER = 20
MOST_RECENT_EVENTS = 8
DELETED = "deleted"  # the state of a run that nobody sees any more while what it has stored is being removed


class FrameCounts(NamedTuple):
    """How many frames are stored, and how many are lost for good."""

    stored: int
    lost: int

    @classmethod
    def total(cls, parts: Iterable["FrameCounts"]) -> "FrameCounts":
        """Of all parts together."""
        stored, lost = 0, 0
        for part in parts:
            stored, lost = stored + part.stored, lost + part.lost
        return cls(stored, lost)


def lock_run(session: Session, run_id: UUID) -> Run:
    """The run, ours alone until the transaction ends."""
    statement = select(Run).where(Run.run_id == run_id).with_for_update(key_share=True)
    run = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if run is None or run.state == DELETED:
        raise NotFoundError(f"run {run_id} is not known here: declare it again, then send")
    return run


def has_run(session: Session, run_id: UUID) -> bool:
    """Whether the run was declared."""
    return session.scalar(select(Run.run_id).where(Run.run_id == run_id, Run.state != DELETED)) is not None


def declare_run(session: Session, run_id: UUID, project_id: UUID, new: RunDeclaration, now: datetime) -> Run:
    """Make the run, or replace what its client says about it; it stays in its project.

    A run that was deleted may be declared anew once all of it is gone.
    """
    said = {
        "name": new.name,
        "owner": new.owner,
        "group_name": new.group,
        "tags": new.tags,
        "config": new.config,
        "links": new.links,
        "versions": new.versions,
        "last_seen_at": now,
    }
    fresh = {
        "run_id": run_id,
        "project_id": project_id,
        "created_at": now,
        "state": "running",
        "already_clipped": False,
        "event_revision": 0,
        "judged_frames": 0,
        "clipped_frames": 0,
    }
    made = insert_if_absent(session, Run, fresh | said)
    if not made and is_deleted(session, run_id):
        raise OverloadedError(f"run {run_id} was deleted and is still being removed; try again")
    run = lock_run(session, run_id)
    if made:
        return run
    if run.project_id != project_id:
        raise ConflictError(f"project: run {run_id} belongs to another project; a run cannot move")
    for name, value in said.items():
        setattr(run, name, value)
    session.flush()
    return run


def declare_attempt(
    session: Session, run_id: UUID, attempt_id: UUID, new: AttemptDeclaration, now: datetime
) -> tuple[Run, Attempt]:
    """Make the attempt or take its heartbeat. An end that was declared holds once every frame has arrived.

    An end is final: a heartbeat that was overtaken by it changes nothing.
    """
    run = lock_run(session, run_id)
    attempt = session.get(Attempt, (run_id, attempt_id), populate_existing=True)
    if attempt is not None and attempt.declared_state in FINAL_STATES and new.state not in FINAL_STATES:
        return run, attempt
    if attempt is None:
        attempt = Attempt(run_id=run_id, attempt_id=attempt_id, state="running")
        session.add(attempt)
        if new.rank == 0:
            _wait_for_step(run, now, PATIENCE_BEFORE_FIRST_STEP)
    elif now - run.last_seen_at > UNREACHABLE_AFTER:  # what it did meanwhile may be on its way
        _wait_for_step(run, now, patience(run.longest_gap_seconds))
    attempt.rank, attempt.world_size, attempt.launch = new.rank, new.world_size, new.launch
    attempt.host, attempt.pid, attempt.interactive = new.host, new.pid, new.interactive
    attempt.started_at = datetime.fromtimestamp(new.started_at, UTC)
    attempt.resumed_from_step, attempt.last_step = new.resumed_from_step, new.last_step
    attempt.live, attempt.overhead, attempt.exception = new.live, new.overhead, new.exception
    attempt.monitors = msgspec.to_builtins(new.monitors)
    attempt.declared_state = new.state
    attempt.heartbeat_at = now
    run.last_seen_at = now
    was_paused = run.state == "paused"
    session.flush()
    settle(session, run, attempt)
    if was_paused and run.state == "running":
        _wait_for_step(run, now, patience(run.longest_gap_seconds))
        session.flush()
    return run, attempt


def _wait_for_step(run: Run, now: datetime, most: timedelta) -> None:
    """From now on a step can come again, and is waited for so long."""
    run.waiting_since = now
    run.overdue_at = now + most if run.overdue_at is None else max(run.overdue_at, now + most)


def settle(session: Session, run: Run, attempt: Attempt) -> None:
    """Let the state that an attempt declared take effect if it may, and give the run the state that follows."""
    final = attempt.declared_state in FINAL_STATES
    state = "running" if final and not _has_everything(session, attempt) else attempt.declared_state
    if attempt.state != state or run.state != state:
        attempt.state = state
        session.flush()
        run.state = run_state(attempts_of(session, run.run_id))
        session.flush()


def _has_everything(session: Session, attempt: Attempt) -> bool:
    """Whether each monitor's frames have all come, or are known to be lost."""
    arrived = select(Stream.monitor, Stream.next_frame)
    arrived = arrived.where(Stream.run_id == attempt.run_id, Stream.attempt_id == attempt.attempt_id)
    counts = {row.monitor: row.next_frame for row in session.execute(arrived)}
    return all(counts.get(name, 0) >= monitor["made"] for name, monitor in attempt.monitors.items())


def run_state(attempts: Sequence[Attempt]) -> str:
    """What the attempts that were started together last say: alive if one is, failed if one failed."""
    newest = max(attempts, key=lambda attempt: (attempt.started_at, attempt.attempt_id))
    states = {attempt.state for attempt in attempts if attempt.launch == newest.launch}
    return next(state for state in ("running", "paused", "failed", "finished") if state in states)


def declare_layout(session: Session, run_id: UUID, layout_id: str, layers: Sequence[LayerDeclaration]) -> None:
    """Keep a layout; its id is its content's hash, so that a second time changes nothing."""
    values = {"layout_id": layout_id, "layer_count": len(layers), "layers": pack_layers(layers)}
    insert_if_absent(session, Layout, {"run_id": run_id} | values)


def events_after(session: Session, run_id: UUID, revision: int) -> Sequence[Event]:
    """The run's events that changed since ``revision``, oldest change first."""
    changed = select(Event).where(Event.run_id == run_id, Event.revision > revision)
    changed = changed.order_by(Event.revision, Event.event_id).limit(MOST_EVENTS_AN_ANSWER)
    return session.scalars(changed.execution_options(populate_existing=True)).all()


def open_events_of(session: Session, run_id: UUID) -> Sequence[Event]:
    """The run's events that go on, newest first."""
    statement = select(Event).where(Event.run_id == run_id, Event.status == "open")
    return session.scalars(statement.order_by(Event.opened_at.desc(), Event.event_id)).all()


def recent_events(session: Session, run_ids: Collection[UUID]) -> dict[UUID, list[Row[Any]]]:
    """The newest few events of each of several runs in one statement, newest first, without what is said of them."""
    order = (Event.opened_at.desc(), Event.event_id)
    place = func.row_number().over(partition_by=Event.run_id, order_by=order).label("place")
    marks = (Event.event_id, Event.kind, Event.severity, Event.status, Event.start_step, Event.end_step)
    ranked = select(Event.run_id, *marks, Event.opened_at, place).where(Event.run_id.in_(run_ids)).subquery()
    found: dict[UUID, list[Row[Any]]] = {run_id: [] for run_id in run_ids}
    for row in session.execute(select(ranked).where(ranked.c.place <= MOST_RECENT_EVENTS).order_by(ranked.c.place)):
        found[row.run_id].append(row)
    return found


def is_deleted(session: Session, run_id: UUID) -> bool:
    """Whether the run is being removed."""
    return session.scalar(select(Run.state).where(Run.run_id == run_id)) == DELETED


def get_run(session: Session, run_id: UUID) -> Run:
    """One run, or 404."""
    run = session.get(Run, run_id)
    if run is None or run.state == DELETED:
        raise NotFoundError(f"there is no run {run_id}")
    return run


def project_name(session: Session, project_id: UUID) -> str:
    """What people call the project."""
    return session.scalars(select(Project.name).where(Project.project_id == project_id)).one()


def attempts_of(session: Session, run_id: UUID) -> Sequence[Attempt]:
    """A run's attempts, oldest first."""
    statement = select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.started_at, Attempt.attempt_id)
    return session.scalars(statement).all()


def monitors_of(session: Session, run_id: UUID) -> Sequence[str]:
    """The names of the monitors that have sent frames."""
    return session.scalars(
        select(Stream.monitor).where(Stream.run_id == run_id).distinct().order_by(Stream.monitor)
    ).all()


def count_frames(session: Session, run_id: UUID) -> FrameCounts:
    """How many frames of a run's rank 0 are stored, and how many are lost."""
    of_rank_0 = select(Attempt.attempt_id).where(Attempt.run_id == run_id, Attempt.rank == 0)
    counts = count_frames_of_attempts(session, run_id)
    return FrameCounts.total(counts[attempt_id] for attempt_id in session.scalars(of_rank_0) if attempt_id in counts)


def count_frames_of_attempts(session: Session, run_id: UUID) -> dict[UUID, FrameCounts]:
    """The same of each attempt that has sent something."""
    # By stream, since a sum over streams may leave the 64 bits of SQLite's integers.
    streams = select(Stream.attempt_id, Stream.next_frame).where(Stream.run_id == run_id)
    gaps = select(Gap.attempt_id, func.sum(Gap.n)).where(Gap.run_id == run_id).group_by(Gap.attempt_id, Gap.monitor)
    counted, lost = Counter[UUID](), Counter[UUID]()
    for attempt_id, n in session.execute(streams):
        counted[attempt_id] += n
    for attempt_id, n in session.execute(gaps):
        lost[attempt_id] += int(n)
    return {attempt_id: FrameCounts(n - lost[attempt_id], lost[attempt_id]) for attempt_id, n in counted.items()}
