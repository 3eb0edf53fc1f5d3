"""The writer: work is committed before it is answered, alone or together, and never half."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any
from uuid import UUID, uuid4

import pytest
from service.speaking import ServiceUnderTest
from sqlalchemy import event, func, select, text

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.database import make_engine, make_session_factory
from gradvitals_service.errors import MalformedError, OverloadedError
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import MOST_QUEUED, MOST_QUEUED_BYTES, POSTGRESQL_THREADS, Item, Writer
from gradvitals_service.projects.models import Project
from gradvitals_service.projects.queries import make_project

TIMEOUT = 20.0


class RecordingHub:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.told = threading.Event()

    def publish(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self.told.set()


class Bench:
    """A writer on a fresh database, and one run whose thread can be held up."""

    def __init__(self, database_url: str) -> None:
        self.engine = make_engine(database_url)
        self.session_factory = make_session_factory(self.engine)
        self.hub = RecordingHub()
        self.writer = Writer(self.session_factory, Channels(), self.hub)
        self.writer.start()
        self.run_id = uuid4()

    def submit(
        self, work: Callable[[Transaction], Any], size_bytes: int = 0, run_id: UUID | None = None
    ) -> "Future[Any]":
        return self.writer.submit(Item(run_id or self.run_id, work, size_bytes))

    def submit_plain(self, work: Callable[[Transaction], Any]) -> "Future[Any]":
        """Work without a savepoint, as chunks are."""
        return self.writer.submit(Item(self.run_id, work, plain=True))

    def hold(self) -> threading.Event:
        """Keep the writer busy until the event is set, so that what is submitted meanwhile forms one group."""
        entered, release = threading.Event(), threading.Event()

        def wait(transaction: Transaction) -> None:
            entered.set()
            assert release.wait(TIMEOUT)

        self.submit(wait)
        assert entered.wait(TIMEOUT)
        return release

    def projects(self) -> set[str]:
        with self.session_factory.begin() as session:
            return set(session.scalars(select(Project.name)))


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    bench = Bench(database_url)
    yield bench
    bench.writer.stop()
    bench.engine.dispose()


def making(name: str) -> Callable[[Transaction], str]:
    def work(transaction: Transaction) -> str:
        make_project(transaction.session, name)
        transaction.publish({"type": "run", "run_id": name})
        return name

    return work


def failing(name: str, error: Exception) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        making(name)(transaction)
        raise error

    return work


def test_an_answer_comes_after_the_commit(bench: Bench) -> None:
    assert bench.submit(making("one")).result(TIMEOUT) == "one"
    assert bench.projects() == {"one"}


def test_what_gathered_is_committed_together(bench: Bench) -> None:
    commits: list[object] = []
    release = bench.hold()
    futures = [bench.submit(making(f"p{k}")) for k in range(10)]
    event.listen(bench.engine, "commit", commits.append)
    release.set()
    assert [future.result(TIMEOUT) for future in futures] == [f"p{k}" for k in range(10)]
    assert len(commits) == 2  # that of the work which held it up, and one for all ten


def test_a_bad_piece_of_work_leaves_nothing_and_sinks_nobody_else(bench: Bench) -> None:
    release = bench.hold()
    before = bench.submit(making("before"))
    bad = bench.submit(failing("bad", MalformedError("step: wrong")))
    after = bench.submit(making("after"))
    release.set()
    assert before.result(TIMEOUT) == "before"
    assert after.result(TIMEOUT) == "after"
    with pytest.raises(MalformedError, match="step: wrong"):
        bad.result(TIMEOUT)
    assert bench.projects() == {"before", "after"}


def writing(work: Callable[[Transaction], Any]) -> Callable[[Transaction], Any]:
    """Plain work, which says that it begins to write."""

    def write(transaction: Transaction) -> Any:
        transaction.writing = True
        return work(transaction)

    return write


def test_work_without_a_savepoint_that_fails_after_a_write_leaves_nothing_and_sinks_nobody_else(bench: Bench) -> None:
    release = bench.hold()
    before = bench.submit_plain(writing(making("before")))
    bad = bench.submit_plain(writing(failing("bad", MalformedError("step: wrong"))))
    faulty = bench.submit_plain(writing(failing("faulty", KeyError("a fault of ours"))))
    after = bench.submit_plain(writing(making("after")))
    release.set()
    assert (before.result(TIMEOUT), after.result(TIMEOUT)) == ("before", "after")
    assert isinstance(bad.exception(TIMEOUT), MalformedError)
    assert isinstance(faulty.exception(TIMEOUT), KeyError)
    assert bench.projects() == {"before", "after"}
    assert bench.hub.told.wait(TIMEOUT)
    assert [message["run_id"] for message in bench.hub.messages] == ["before", "after"]


def test_a_refusal_before_the_first_write_costs_nobody_a_second_transaction(bench: Bench) -> None:
    def refuse(transaction: Transaction) -> None:
        raise MalformedError("step: wrong")

    rollbacks: list[object] = []
    release = bench.hold()
    event.listen(bench.engine, "rollback", rollbacks.append)
    bad, good = bench.submit_plain(refuse), bench.submit_plain(writing(making("good")))
    release.set()
    assert good.result(TIMEOUT) == "good"
    assert isinstance(bad.exception(TIMEOUT), MalformedError)
    assert rollbacks == []


def test_what_failed_is_not_told_to_the_live_pages(bench: Bench) -> None:
    release = bench.hold()
    bad = bench.submit(failing("bad", MalformedError("wrong")))
    good = bench.submit(making("good"))
    release.set()
    good.result(TIMEOUT)
    assert bad.exception(TIMEOUT) is not None
    assert bench.hub.told.wait(TIMEOUT)
    assert [message["run_id"] for message in bench.hub.messages] == ["good"]


def test_a_statement_that_the_database_refuses_is_handed_to_its_request_alone(bench: Bench) -> None:
    release = bench.hold()
    bad = bench.submit(
        lambda transaction: transaction.session.execute(text("INSERT INTO projects (name) VALUES ('x')"))
    )
    good = bench.submit(making("good"))
    release.set()
    assert good.result(TIMEOUT) == "good"
    assert bad.exception(TIMEOUT) is not None
    assert bench.projects() == {"good"}


def test_a_commit_that_fails_fails_everybody_and_stores_nothing(bench: Bench) -> None:
    def break_once(connection: object) -> None:
        event.remove(bench.engine, "commit", break_once)
        raise OSError("no space left on device")

    release = bench.hold()
    first = bench.submit(making("first"))
    arming = bench.submit(lambda transaction: event.listen(bench.engine, "commit", break_once))
    last = bench.submit(making("last"))
    release.set()
    assert all(isinstance(future.exception(TIMEOUT), OverloadedError) for future in (first, arming, last))
    assert bench.projects() == set()
    assert bench.hub.messages == []
    assert bench.submit(making("later")).result(TIMEOUT) == "later"


def test_a_full_queue_refuses_at_once(bench: Bench) -> None:
    release = bench.hold()
    room = MOST_QUEUED if bench.engine.dialect.name == "sqlite" else MOST_QUEUED // POSTGRESQL_THREADS
    waiting = [bench.submit(lambda transaction: None) for _ in range(room)]
    with pytest.raises(OverloadedError, match="more is waiting"):
        bench.submit(lambda transaction: None)
    release.set()
    assert [future.exception(TIMEOUT) for future in waiting] == [None] * room


def test_too_many_waiting_bytes_are_refused_too(bench: Bench) -> None:
    release = bench.hold()
    room = MOST_QUEUED_BYTES if bench.engine.dialect.name == "sqlite" else MOST_QUEUED_BYTES // POSTGRESQL_THREADS
    bench.submit(lambda transaction: None, size_bytes=room - 1)
    with pytest.raises(OverloadedError):
        bench.submit(lambda transaction: None, size_bytes=2)
    release.set()


def test_stopping_writes_what_was_submitted_and_refuses_what_comes_later(bench: Bench) -> None:
    release = bench.hold()
    futures = [bench.submit(making(f"p{k}")) for k in range(5)]
    stopper = threading.Thread(target=bench.writer.stop)
    stopper.start()
    release.set()
    stopper.join(TIMEOUT)
    assert [future.done() for future in futures] == [True] * 5
    assert bench.projects() == {f"p{k}" for k in range(5)}
    with pytest.raises(OverloadedError, match="stopping"):
        bench.submit(making("late"))
    assert not bench.writer.alive


def test_work_whose_request_has_gone_is_left_out(bench: Bench) -> None:
    release = bench.hold()
    gone = bench.submit(making("gone"))
    kept = bench.submit(making("kept"))
    assert gone.cancel()
    release.set()
    kept.result(TIMEOUT)
    assert bench.projects() == {"kept"}


def test_an_acknowledged_transaction_was_synced_to_disk(bench: Bench) -> None:
    """SQLite: synchronous=FULL (2) on the very connection that writes. PostgreSQL: synchronous_commit on."""

    def look(transaction: Transaction) -> Any:
        sqlite = bench.engine.dialect.name == "sqlite"
        return transaction.session.scalar(text("PRAGMA synchronous" if sqlite else "SHOW synchronous_commit"))

    assert bench.submit(look).result(TIMEOUT) == (2 if bench.engine.dialect.name == "sqlite" else "on")


def test_an_overloaded_service_answers_503_with_a_time_to_come_back(service: ServiceUnderTest) -> None:
    service.app.state.writer.stop()
    run_id = uuid4()
    answer = service.client.put(f"/api/v1/runs/{run_id}", headers=service.ingest, json={"project": "p", "name": "n"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"] == "overloaded"
    with service.app.state.session_factory.begin() as session:
        assert session.scalar(select(func.count()).select_from(Project)) == 1  # a project is made before its run
