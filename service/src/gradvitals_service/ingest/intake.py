"""Take one chunk inside the writer's transaction: count, judge, store, and keep the run's newest figures.

Everything here happens under the lock of the run's row, or not at all.
"""

from datetime import datetime
from uuid import UUID

import numpy as np

from gradvitals_service.alerts import outbox
from gradvitals_service.errors import ConflictError, MalformedError
from gradvitals_service.health import evidence
from gradvitals_service.health.detectors import NORMAL, Options
from gradvitals_service.health.ranks import hear_of_rank
from gradvitals_service.health.recording import end_turned_off, record, resolve_forgotten
from gradvitals_service.health.watch import Watch, find_watch, new_watch, read_groups
from gradvitals_service.ingest import queries
from gradvitals_service.ingest.exactly_once import Accepted, accept
from gradvitals_service.ingest.ledger_queries import Figures, Place, RunHead
from gradvitals_service.ingest.queries import StreamHead, StreamKey
from gradvitals_service.ingest.schemas import FramesIn
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.wire import Chunk
from gradvitals_service.runs.models import Attempt
from gradvitals_service.runs.pace import Pace
from gradvitals_service.runs.queries import declare_layout, declare_run, has_run, lock_run, settle
from gradvitals_service.runs.schemas import FINAL_STATES, LayerDeclaration, RunDeclaration
from gradvitals_service.runs.standing import patience
from gradvitals_service.series import flags
from gradvitals_service.series.codec import ChunkColumns, encode_columns
from gradvitals_service.series.sparkline import Sparkline

EncodedChunk = tuple[bytes, bytes]
PUBLISHED_COLUMNS = ("step", "time", "global_norm", "loss", "clip_coefficient", "max_norm", "lr", "flags")


def take_chunk(transaction: Transaction, run_id: UUID, chunk: Chunk, encoded: EncodedChunk | None) -> dict[str, int]:
    """Take what is new of a chunk; ``encoded`` are its blobs if they were prepared. Gives the acknowledgement.

    Mapped objects are loaded only where something has happened: a chunk of healthy frames passes without.
    """
    ledger = transaction.ledger
    run = ledger.run(run_id)
    key = StreamKey(run_id, chunk.attempt_id, chunk.monitor)
    place = ledger.place(key, chunk.layout_id)
    _check_layout(place, chunk)
    head = place.head
    first = head.next_frame if chunk.first is None else chunk.first
    accepted = accept(head.next_frame, chunk.lost, first, len(chunk.frames))
    if accepted.next_frame == head.next_frame:  # all of it is here already
        return {"next": head.next_frame, "event_revision": run.event_revision}
    frames = chunk.frames.after(accepted.skip) if accepted.skip else chunk.frames
    block = (first + accepted.skip, frames)
    watch, figures = None, None
    if len(frames):
        _check_steps(head, frames)
    transaction.writing = True
    if len(frames):
        if place.rank == 0:
            watch = _watch(transaction, key, run, head, chunk.layout_id)
            figures = _figures(run, place, chunk.monitor, frames, transaction.now)
        _store(transaction, key, chunk.layout_id, block, None if accepted.skip else encoded)
    ledger.see_run(run_id, figures, transaction.now)  # before the judgement, whose alerts quote it
    if watch is not None:
        _judge(transaction, key, run, watch, block)
    elif len(frames):
        _listen(transaction, key, run, frames)
    _advance(transaction, key, head, accepted, chunk.layout_id, frames, watch)
    if place.declared_state in FINAL_STATES and place.state != place.declared_state:  # an end that may now hold
        session = transaction.session
        ledger.write()
        attempt = queries.get_attempt(session, key)
        settle(session, lock_run(session, run_id), attempt)
        if attempt.state in FINAL_STATES:
            evidence.complete_attempt(session, run_id, key.attempt_id)
        ledger.drop()  # the attempt's state is another now
    _publish(transaction, key, place.rank, frames)
    return {"next": head.next_frame, "event_revision": run.event_revision}


def _check_layout(place: Place, chunk: Chunk) -> None:
    if not len(chunk.frames):
        return
    if place.layer_count is None:
        raise queries.unknown_layout(chunk.layout_id)
    if chunk.layer_count != place.layer_count:
        raise MalformedError(
            f"layer_norms: norms of {chunk.layer_count} layers, but the layout has {place.layer_count}"
        )


def _check_steps(head: StreamHead, frames: ChunkColumns) -> None:
    first_step = int(frames.columns["step"][0])
    if head.last_step is not None and first_step <= head.last_step:
        raise MalformedError(
            f"step: step {first_step} follows step {head.last_step}; steps of an attempt must increase"
        )


def _watch(transaction: Transaction, key: StreamKey, run_head: RunHead, head: StreamHead, layout_id: str) -> Watch:
    """The stream's watch, for this transaction to change."""
    watch = transaction.recall(key)
    if watch is None or watch.next_frame != head.next_frame:  # or another process has gone on meanwhile
        watch = _bring_back(transaction, key, run_head, head, layout_id)
    if watch.options_revision != run_head.detection_revision:
        _follow_project(transaction, key, run_head, head, watch)
    if watch.layout_id != layout_id:
        watch.use_layout(layout_id, read_groups(transaction.session, key, layout_id))
    return watch


def _bring_back(transaction: Transaction, key: StreamKey, run_head: RunHead, head: StreamHead, layout_id: str) -> Watch:
    """The watch of a stream that is not remembered, from what is stored."""
    transaction.ledger.write()  # what an earlier attempt has sent just now counts
    session, options = transaction.session, _options(transaction, key, run_head)
    attempt = queries.get_attempt(session, key)
    watch = find_watch(session, key, head, attempt, options)
    if watch is None:
        return new_watch(layout_id, read_groups(session, key, layout_id), options)
    watch.evidence_due = _take_over_evidence(transaction, key, head, attempt)
    return watch


def _options(transaction: Transaction, key: StreamKey, run_head: RunHead) -> Options:
    """What the project has chosen; one that never did is not asked."""
    return queries.read_detection(transaction.session, key.run_id) if run_head.detection_revision else NORMAL


def _follow_project(
    transaction: Transaction, key: StreamKey, run_head: RunHead, head: StreamHead, watch: Watch
) -> None:
    """Judge from here on as the project has chosen since this watch was made, and end what it wants to hear no more."""
    options = _options(transaction, key, run_head)
    watch.follow(options, run_head.detection_revision)
    if not options.off:
        return
    transaction.ledger.write()
    session = transaction.session
    run, attempt = lock_run(session, key.run_id), queries.get_attempt(session, key)
    for event in end_turned_off(session, run, attempt.rank, key, options.off, head.last_step, transaction.now):
        transaction.publish_event(event)
    run_head.event_revision = run.event_revision


def _take_over_evidence(transaction: Transaction, key: StreamKey, head: StreamHead, attempt: Attempt) -> int | None:
    """When the evidence of this stream's events is due; an attempt before it has ended, whether it said so or not."""
    session = transaction.session
    earlier = queries.earlier_stream(session, attempt, key.monitor) if head.layout_id is None else None
    if earlier is not None:
        evidence.complete_stream(session, earlier[0])
    return evidence.complete_due(session, key, head.next_frame)


def _store(
    transaction: Transaction,
    key: StreamKey,
    layout_id: str,
    block: tuple[int, ChunkColumns],
    encoded: EncodedChunk | None,
) -> None:
    first, frames = block
    columns, layer_columns = encoded or encode_columns(frames)
    step = frames.columns["step"]
    values = {
        "first": first,
        "n": len(frames),
        "layout_id": layout_id,
        "first_step": int(step[0]),
        "last_step": int(step[-1]),
        "columns": columns,
        "layer_columns": layer_columns,
    }
    transaction.ledger.add_chunk(key, values, transaction.now)


def _judge(
    transaction: Transaction, key: StreamKey, run_head: RunHead, watch: Watch, block: tuple[int, ChunkColumns]
) -> None:
    """Run the detectors, write their events, and put a critical one on its way to people, once."""
    updates = watch.observe(*block)
    transaction.remember(key, watch)
    is_due = watch.evidence_due is not None and watch.frame >= watch.evidence_due
    if not updates and not is_due and not watch.is_restored:
        return
    transaction.ledger.write()  # what is said of an event is read from what is stored
    session = transaction.session
    run, attempt = lock_run(session, key.run_id), queries.get_attempt(session, key)
    changed = record(session, run, attempt, key, updates, block=block, groups=watch.groups, now=transaction.now)
    for event, became_critical in changed:
        if became_critical and attempt.live:
            outbox.enqueue(session, run, event, transaction.channels)
        transaction.publish_event(event)
    if watch.is_restored:
        last_step = int(block[1].columns["step"][-1])
        going_on = watch.detectors.open_kinds
        for event in resolve_forgotten(session, run, attempt.rank, key.monitor, going_on, last_step, transaction.now):
            transaction.publish_event(event)
        watch.is_restored = False
    run_head.event_revision = run.event_revision
    watch.evidence_due = evidence.complete_due(session, key, watch.frame)


def _listen(transaction: Transaction, key: StreamKey, run_head: RunHead, frames: ChunkColumns) -> None:
    """Frames of another rank than 0 are a few around what befell it: no history to judge, and no second event."""
    transaction.ledger.write()
    session = transaction.session
    run, attempt = lock_run(session, key.run_id), queries.get_attempt(session, key)
    for event in hear_of_rank(session, run, attempt, key, frames, transaction.now):
        transaction.publish_event(event)
    run_head.event_revision = run.event_revision


def _advance(
    transaction: Transaction,
    key: StreamKey,
    head: StreamHead,
    accepted: Accepted,
    layout_id: str,
    frames: ChunkColumns,
    watch: Watch | None,
) -> None:
    """Count what came, and keep the detectors' state now and then."""
    queries.insert_gaps(transaction.session, key, accepted.lost)
    head.next_frame = accepted.next_frame
    if watch is not None:
        watch.next_frame = head.next_frame
    if len(frames):
        head.last_step, head.layout_id = int(frames.columns["step"][-1]), layout_id
    snapshot = watch.snapshot_if_due(transaction.now) if watch else None
    transaction.ledger.advance(key, head, snapshot)


def _figures(run: RunHead, place: Place, monitor: str, frames: ChunkColumns, now: datetime) -> Figures | None:
    """The figures to keep beside the run: those of rank 0's newest attempt, of the monitor that reported first."""
    started_at = place.started_at.timestamp()
    sparkline = Sparkline.from_bytes(run.sparkline, monitor)
    if sparkline.monitor != monitor or started_at < sparkline.started_at:
        return None
    columns = frames.columns
    _keep_pace(run, started_at, frames, now, first=sparkline.last_step < 0)
    sparkline.started_at = started_at
    sparkline.observe(monitor, columns["step"], columns["global_norm"])
    run.sparkline = sparkline.to_bytes()
    logged = np.flatnonzero(columns["flags"] & flags.LOSS)
    return Figures(
        last_step=int(columns["step"][-1]),
        global_norm=float(columns["global_norm"][-1]),
        max_norm=float(columns["max_norm"][-1]),
        already_clipped=bool(columns["flags"][-1] & flags.ALREADY_CLIPPED),
        loss=float(columns["loss"][logged[-1]]) if len(logged) else None,
        judged=int(np.isfinite(columns["clip_coefficient"]).sum()),
        clipped=int((columns["clip_coefficient"] < 1).sum()),
        sparkline=run.sparkline,
        pace=run.pace or b"",
        waiting_since=now,
        longest_gap_seconds=run.longest_gap_seconds,
        overdue_at=now + patience(run.longest_gap_seconds),
    )


def _keep_pace(run: RunHead, started_at: float, frames: ChunkColumns, now: datetime, first: bool) -> None:
    """How fast the run steps, and how long it was waited for; the wait for its very first step sets no example."""
    pace = Pace.from_bytes(run.pace)
    pace.observe(started_at, frames.columns["time"], frames.columns["step"])
    run.pace = pace.to_bytes()
    if run.waiting_since is not None and not first:
        run.longest_gap_seconds = max(run.longest_gap_seconds, (now - run.waiting_since).total_seconds())
    run.waiting_since = now


def _publish(transaction: Transaction, key: StreamKey, rank: int, frames: ChunkColumns) -> None:
    """What open pages are told after the commit."""
    run_id = str(key.run_id)
    if len(frames):
        transaction.publish(
            {
                "type": "frames",
                "run_id": run_id,
                "attempt_id": str(key.attempt_id),
                "monitor": key.monitor,
                "rank": rank,
                # copied: a column is a view of the whole body, which must not be kept as long as this is
                "columns": {name: frames.columns[name].copy() for name in PUBLISHED_COLUMNS},
            }
        )
    transaction.publish({"type": "run", "run_id": run_id})


def take_json_frames(
    transaction: Transaction,
    run_id: UUID,
    project_id: UUID,
    frames_in: FramesIn,
    chunk: Chunk,
    layers: list[LayerDeclaration],
) -> dict[str, int]:
    """Take frames that came as JSON: what a client would have declared is made first, where it is missing."""
    session = transaction.session
    if not has_run(session, run_id):
        name = frames_in.name or str(run_id)
        declare_run(session, run_id, project_id, RunDeclaration(frames_in.project, name), transaction.now)
    run = lock_run(session, run_id)
    if run.project_id != project_id:
        raise ConflictError(f"project: run {run_id} belongs to another project")
    queries.make_plain_attempt(session, StreamKey(run_id, chunk.attempt_id, chunk.monitor), transaction.now)
    declare_layout(session, run_id, chunk.layout_id, layers)
    return take_chunk(transaction, run_id, chunk, None)
