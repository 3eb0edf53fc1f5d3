"""A judgement that is made anew from segments is the one that was made from chunks."""

from collections.abc import Callable
from typing import Any

import pytest
from service.health.test_watch import events_of, expected, new_run, send_history
from service.series.storing import WriterAtOnce
from service.speaking import ServiceUnderTest
from sqlalchemy import func, select, update

from gradvitals_service.ingest.models import Stream
from gradvitals_service.series.compaction_queries import unsettled
from gradvitals_service.series.compactor import Compactor
from gradvitals_service.series.models import Chunk, Segment

__all__ = ["expected"]


@pytest.mark.parametrize("least", [1, 100_000])
def test_a_service_without_snapshots_gives_the_same_events_from_segments_and_blocks(
    make_service: Callable[..., ServiceUnderTest], expected: list[dict[str, Any]], least: int
) -> None:
    """Everything is compacted, every snapshot is lost, and a new service goes on: after each chunk."""
    run = new_run(make_service())

    def restart(first: int) -> None:
        session_factory = run.service.app.state.session_factory
        run.service.app.state.writer.stop()
        compactor = Compactor(session_factory, WriterAtOnce(session_factory))
        with session_factory.begin() as session:
            standings = unsettled(session)
        for standing in standings:
            compactor.compact(standing, ended=True, least=least)
        with session_factory.begin() as session:
            session.execute(update(Stream).values(detector_state=None, detector_frame=None))
            held = [session.scalar(select(func.count()).select_from(table)) for table in (Chunk, Segment)]
        assert held == ([0, held[1]] if least == 1 else [1, 0])
        run.service = make_service()

    send_history(run, lambda first: 5 if 295 <= first < 305 else 295 if first == 0 else 60, restart)
    assert events_of(run.service, run) == expected
