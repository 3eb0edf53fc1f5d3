"""Chunks that gathered while the writer was busy: looked up and written together, each of them taken as if alone."""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from service.speaking import ServiceUnderTest, Speaker, chunk
from sqlalchemy import event
from sqlalchemy.exc import DataError

from gradvitals_service.errors import NotFoundError, OutOfOrderError
from gradvitals_service.ingest.intake import take_chunk
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.wire import decode_chunk
from gradvitals_service.ingest.writer import Item

TIMEOUT = 30.0
RUNS = 5


class Gathering:
    """What is sent until ``let_go`` waits for the writer, which is held up."""

    def __init__(self, service: ServiceUnderTest) -> None:
        self.writer = service.app.state.writer
        self._release = threading.Event()

    def hold(self, run: Speaker) -> None:
        """Keep the thread busy that serves this run."""

        def wait(transaction: Transaction) -> None:
            assert self._release.wait(TIMEOUT)

        self.writer.submit(Item(run.run_id, wait))

    def send(self, run: Speaker, first: int, n: int, **changes: Any) -> "Future[Any]":
        """As the route does."""
        body = decode_chunk(msgspec.msgpack.encode(chunk(run.attempt_id, first, n, **changes)))
        stream = StreamKey(run.run_id, body.attempt_id, body.monitor), body.layout_id
        work = partial(take_chunk, run_id=run.run_id, chunk=body, encoded=None)
        return self.writer.submit(Item(run.run_id, work, plain=True, stream=stream))

    def let_go(self) -> None:
        """Let the writer take all that gathered."""
        self._release.set()


@pytest.fixture
def runs(service: ServiceUnderTest) -> list[Speaker]:
    return [service.declare_run() for _ in range(RUNS)]


@pytest.fixture
def gathering(service: ServiceUnderTest, runs: list[Speaker]) -> Iterator[Gathering]:
    gathering = Gathering(service)
    for run in runs:
        gathering.hold(run)
    yield gathering
    gathering.let_go()


def losses(run: Speaker) -> list[float]:
    series: list[float] = run.service.get(f"{run.path}/series", points=1000, metrics="loss")["series"]["loss"]["min"]
    return series


def test_each_is_stored_once_and_counted(gathering: Gathering, runs: list[Speaker]) -> None:
    sent = {}
    for first in (0, 10, 20):
        for place, run in enumerate(runs):
            changes = {"loss": [float(place)] * 10, "clip_coefficient": [0.5] * 5 + [1.0] * 5}
            sent[place, first] = gathering.send(run, first, 10, **changes)
    gathering.let_go()
    for (_, first), future in sent.items():
        assert future.result(TIMEOUT) == {"next": first + 10, "event_revision": 0}
    for place, run in enumerate(runs):
        assert losses(run) == [float(place)] * 30
        about = run.service.get(run.path)
        assert (about["frames"], about["last_step"], about["loss"]) == (30, 29, float(place))
        (shown,) = [row for row in run.service.get("/api/v1/dashboard")["runs"] if row["run_id"] == str(run.run_id)]
        assert shown["clip_rate"] == pytest.approx(0.5)


def test_one_that_is_refused_sinks_nobody_else(gathering: Gathering, runs: list[Speaker]) -> None:
    stranger = Speaker(runs[0].service, uuid4())
    before = [gathering.send(run, 0, 10) for run in runs]
    early = gathering.send(runs[0], 11, 10)
    unknown_layout = gathering.send(runs[1], 10, 10, layout_id="0" * 32)
    unknown_run = gathering.send(stranger, 0, 10)
    after = [gathering.send(run, 10, 10) for run in runs]
    gathering.let_go()
    assert [future.result(TIMEOUT)["next"] for future in before + after] == [10] * RUNS + [20] * RUNS
    assert isinstance(early.exception(TIMEOUT), OutOfOrderError)
    assert isinstance(unknown_layout.exception(TIMEOUT), NotFoundError)
    assert isinstance(unknown_run.exception(TIMEOUT), NotFoundError)


def test_what_is_found_in_one_is_told_once_and_counted_in_those_after_it(
    gathering: Gathering, runs: list[Speaker]
) -> None:
    run, *others = runs
    sent = [gathering.send(run, 0, 10)]
    sent += [gathering.send(run, 10, 2, global_norm=[5.0, math.nan], layer_norms=[3.0, 4.0, math.nan, 4.0])]
    sent += [gathering.send(run, 12, 2)]
    healthy = [gathering.send(other, 0, 10) for other in others]
    gathering.let_go()
    assert [future.result(TIMEOUT)["event_revision"] for future in sent] == [0, 1, 1]
    assert [future.result(TIMEOUT)["event_revision"] for future in healthy] == [0] * len(others)
    (found,) = run.service.get(f"{run.path}/events")["events"]
    assert (found["kind"], found["start_step"]) == ("non_finite", 11)


def test_an_attempt_that_begins_beside_the_end_of_another_goes_on_from_it(
    gathering: Gathering, runs: list[Speaker]
) -> None:
    """The new attempt inherits from what the old one sent in the same moment."""
    run = runs[0]
    gathering.let_go()
    again = Speaker(run.service, run.run_id)
    again.heartbeat(started_at=1_790_000_100.0)
    gathering = Gathering(run.service)
    gathering.hold(run)
    old = gathering.send(run, 0, 10, global_norm=[5.0] * 9 + [math.nan])
    new = gathering.send(again, 0, 40)
    gathering.let_go()
    assert (old.result(TIMEOUT)["next"], new.result(TIMEOUT)["next"]) == (10, 40)
    (found,) = run.service.get(f"{run.path}/events")["events"]
    assert (found["start_step"], found["status"]) == (9, "resolved")


def test_what_the_database_refuses_of_many_is_taken_one_by_one(gathering: Gathering, runs: list[Speaker]) -> None:
    refused = []

    def refuse_many(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if many and statement.startswith("INSERT INTO chunks"):
            refused.append(len(parameters))
            raise DataError(statement, {}, Exception("one of them is no good"))

    sent = [gathering.send(run, first, 10) for first in (0, 10, 20) for run in runs]
    engine = runs[0].service.app.state.writer_engine
    event.listen(engine, "before_cursor_execute", refuse_many)
    try:
        gathering.let_go()
        assert [future.result(TIMEOUT)["next"] for future in sent] == [10] * RUNS + [20] * RUNS + [30] * RUNS
    finally:
        event.remove(engine, "before_cursor_execute", refuse_many)
    assert refused
    assert [run.service.get(run.path)["frames"] for run in runs] == [30] * RUNS
