"""Answer a request for what a run would have told under other choices, one at a time and within bounds."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from starlette.datastructures import State

from gradvitals_service.errors import ConflictError, OverloadedError
from gradvitals_service.health.detectors import Options
from gradvitals_service.health.schemas import EventRead, ToldEventRead
from gradvitals_service.health.what_if import Told, WhatIf, extent, what_if

MOST_VALUES = 50_000_000  # norms of layers that are judged for one request: some ten seconds of work
MOST_EVENTS = 1000
LONGEST_REST_SECONDS = 0.05


def read_replay(state: State, run_id: UUID, options: Options) -> dict[str, Any]:
    """What a run would have told; 503 while another one is replayed, 409 for one that is too long."""
    if not state.replaying.acquire(blocking=False):
        raise OverloadedError("another run is being replayed; try again when that is done")
    try:
        with state.session_factory.begin() as session:
            asked = extent(session, run_id)
        if asked.values > MOST_VALUES:
            raise ConflictError(
                f"run {run_id} has {asked.frames:,} frames, {asked.values:,} norms of layers in all, and at most"
                f" {MOST_VALUES:,} are replayed here; `gradvitals-service what-if {run_id}` replays it all"
            )
        return _as_read(run_id, options, what_if(state.session_factory, run_id, options, _rest()))
    finally:
        state.replaying.release()


def _rest() -> Callable[[int], None]:
    """Rest for as long as was worked: those who send need the processor, and the interpreter, more."""
    began = time.monotonic()

    def rest(frames: int) -> None:
        nonlocal began
        time.sleep(min(time.monotonic() - began, LONGEST_REST_SECONDS))
        began = time.monotonic()

    return rest


def _as_read(run_id: UUID, options: Options, found: WhatIf) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "sensitivity": options.sensitivity,
        "off": sorted(options.off),
        "ignore": options.ignore,
        "frames": found.frames,
        "left_out": found.left_out,
        "told_then": len(found.on_record),
        "paged_then": found.paged,
        "would_tell_now": len(found.told),
        "would_page_now": found.would_page,
        "events": [_told(told) for told in found.told[:MOST_EVENTS]],
        "on_record": [
            EventRead.model_validate(event).model_dump() | {"paged": paged}
            for event, paged in found.on_record[:MOST_EVENTS]
        ],
    }


def _told(told: Told) -> ToldEventRead:
    said = {name: getattr(told.update, name) for name in ToldEventRead.model_fields if hasattr(told.update, name)}
    own = {name: getattr(told, name) for name in ("event_id", "attempt_id", "monitor", "layers", "pages")}
    return ToldEventRead.model_validate(said | own)
