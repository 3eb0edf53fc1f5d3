"""Take one chunk inside the writer's transaction: count, judge, store, and keep the run's newest figures.

Everything here happens under the lock of the run's row, or not at all.
"""

from typing import Any
from uuid import UUID

import numpy as np

from gradvitals_service.alerts import outbox
from gradvitals_service.errors import ConflictError, MalformedError
from gradvitals_service.health.models import Event
from gradvitals_service.health.ranks import hear_of_rank
from gradvitals_service.health.recording import record
from gradvitals_service.health.schemas import EventRead
from gradvitals_service.health.watch import Watch, find_watch, new_watch, read_groups
from gradvitals_service.ingest import queries
from gradvitals_service.ingest.exactly_once import Accepted, accept
from gradvitals_service.ingest.queries import StreamHead, StreamKey
from gradvitals_service.ingest.schemas import FramesIn
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.wire import Chunk
from gradvitals_service.runs.models import Attempt, Run
from gradvitals_service.runs.queries import declare_layout, declare_run, has_run, lock_run, settle
from gradvitals_service.runs.schemas import FINAL_STATES, LayerDeclaration, RunDeclaration
from gradvitals_service.series import flags
from gradvitals_service.series.codec import ChunkColumns, encode_columns
from gradvitals_service.series.sparkline import Sparkline

EncodedChunk = tuple[bytes, bytes]
PUBLISHED_COLUMNS = ("step", "global_norm", "loss", "clip_coefficient", "max_norm", "lr", "flags")


def take_chunk(transaction: Transaction, run_id: UUID, chunk: Chunk, encoded: EncodedChunk | None) -> dict[str, int]:
    """Take what is new of a chunk; ``encoded`` are its blobs if they were prepared. Gives the acknowledgement."""
    session = transaction.session
    run = lock_run(session, run_id)
    key = StreamKey(run_id, chunk.attempt_id, chunk.monitor)
    attempt = queries.get_attempt(session, key)
    _check_layout(transaction, key, chunk)
    head = queries.read_stream(session, key)
    first = head.next_frame if chunk.first is None else chunk.first
    accepted = accept(head.next_frame, chunk.lost, first, len(chunk.frames))
    if accepted.next_frame == head.next_frame:  # all of it is here already
        return _acknowledgement(head, run)
    frames = chunk.frames.after(accepted.skip) if accepted.skip else chunk.frames
    watch = None
    if len(frames):
        _check_steps(head, frames)
        if attempt.rank == 0:
            watch = _watch(transaction, key, head, attempt, chunk.layout_id)
        _store(transaction, key, chunk.layout_id, (first + accepted.skip, frames), None if accepted.skip else encoded)
        _update_figures(run, attempt, chunk.monitor, frames)  # before the judgement, whose alerts quote them
        if watch is not None:
            _judge(transaction, run, attempt, key, watch, (first + accepted.skip, frames))
        else:
            _listen(transaction, run, attempt, key, frames)
    _advance(transaction, key, head, accepted, chunk.layout_id, frames, watch)
    _update_state(transaction, run, attempt)
    _publish(transaction, key, attempt, frames)
    return _acknowledgement(head, run)


def _acknowledgement(head: StreamHead, run: Run) -> dict[str, int]:
    return {"next": head.next_frame, "event_revision": run.event_revision}


def _check_layout(transaction: Transaction, key: StreamKey, chunk: Chunk) -> None:
    if not len(chunk.frames):
        return
    expected = queries.layout_size(transaction.session, key.run_id, chunk.layout_id)
    if chunk.layer_count != expected:
        raise MalformedError(f"layer_norms: norms of {chunk.layer_count} layers, but the layout has {expected}")


def _check_steps(head: StreamHead, frames: ChunkColumns) -> None:
    first_step = int(frames.columns["step"][0])
    if head.last_step is not None and first_step <= head.last_step:
        raise MalformedError(
            f"step: step {first_step} follows step {head.last_step}; steps of an attempt must increase"
        )


def _watch(transaction: Transaction, key: StreamKey, head: StreamHead, attempt: Attempt, layout_id: str) -> Watch:
    """The stream's watch, for this transaction to change."""
    remembered = transaction.recall(key)
    if remembered is not None and remembered.next_frame == head.next_frame:
        watch: Watch | None = remembered.copy()
    else:  # nothing is remembered, or another process has gone on meanwhile
        watch = find_watch(transaction.session, key, head, attempt)
    if watch is None:
        return new_watch(layout_id, read_groups(transaction.session, key, layout_id))
    if watch.layout_id != layout_id:
        watch.use_layout(layout_id, read_groups(transaction.session, key, layout_id))
    return watch


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
    queries.insert_chunk(transaction.session, key, values, transaction.now)


def _judge(
    transaction: Transaction, run: Run, attempt: Attempt, key: StreamKey, watch: Watch, block: tuple[int, ChunkColumns]
) -> None:
    """Run the detectors, write their events, and put a critical one on its way to people, once."""
    updates = watch.observe(*block)
    session = transaction.session
    changed = record(session, run, attempt, key, updates, block=block, groups=watch.groups, now=transaction.now)
    transaction.remember(key, watch)
    for event, became_critical in changed:
        if became_critical and attempt.live:
            outbox.enqueue(session, run, event, transaction.channels)
        transaction.publish({"type": "event", "run_id": str(key.run_id), "event": _as_dict(event)})


def _listen(transaction: Transaction, run: Run, attempt: Attempt, key: StreamKey, frames: ChunkColumns) -> None:
    """Frames of another rank than 0 are a few around what befell it: no history to judge, and no second event."""
    for event in hear_of_rank(transaction.session, run, attempt, key, frames, transaction.now):
        transaction.publish({"type": "event", "run_id": str(key.run_id), "event": _as_dict(event)})


def _as_dict(event: Event) -> dict[str, Any]:
    return EventRead.model_validate(event).model_dump()


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
    queries.save_stream(transaction.session, key, head, snapshot)


def _update_figures(run: Run, attempt: Attempt, monitor: str, frames: ChunkColumns) -> None:
    """Keep the newest figures beside the run: those of rank 0's newest attempt, of the monitor that reported first."""
    if attempt.rank != 0:
        return
    started_at = attempt.started_at.timestamp()
    sparkline = Sparkline.from_bytes(run.sparkline, monitor)
    if sparkline.monitor == monitor and started_at >= sparkline.started_at:
        sparkline.started_at = started_at
        sparkline.observe(monitor, frames.columns["step"], frames.columns["global_norm"])
        run.sparkline = sparkline.to_bytes()
        _set_figures(run, frames)


def _update_state(transaction: Transaction, run: Run, attempt: Attempt) -> None:
    """The run was heard of, and an end that was declared may now hold."""
    run.last_seen_at = transaction.now
    transaction.session.flush()
    if attempt.declared_state in FINAL_STATES and attempt.state != attempt.declared_state:
        settle(transaction.session, run, attempt)


def _set_figures(run: Run, frames: ChunkColumns) -> None:
    columns = frames.columns
    run.last_step = int(columns["step"][-1])
    run.global_norm = float(columns["global_norm"][-1])
    run.max_norm = float(columns["max_norm"][-1])
    run.already_clipped = bool(columns["flags"][-1] & flags.ALREADY_CLIPPED)
    run.judged_frames += int(np.isfinite(columns["clip_coefficient"]).sum())
    run.clipped_frames += int((columns["clip_coefficient"] < 1).sum())
    logged = np.flatnonzero(columns["flags"] & flags.LOSS)
    if len(logged):
        run.loss = float(columns["loss"][logged[-1]])


def _publish(transaction: Transaction, key: StreamKey, attempt: Attempt, frames: ChunkColumns) -> None:
    """What open pages are told after the commit."""
    run_id = str(key.run_id)
    if len(frames):
        transaction.publish(
            {
                "type": "frames",
                "run_id": run_id,
                "attempt_id": str(key.attempt_id),
                "monitor": key.monitor,
                "rank": attempt.rank,
                "columns": {name: frames.columns[name] for name in PUBLISHED_COLUMNS},
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
