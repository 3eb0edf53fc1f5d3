"""Write everything that clients send: one path, bounded queues, group commit.

Request threads ``submit`` work and wait on its future. Each writer thread owns its queue, its memory of streams and its
transactions: it takes what has gathered, commits once, and answers only then, so that an answer means "on disk" and
many answers share one sync. A piece of work that fails leaves nothing and sinks nobody else: each has a savepoint, but
for those that say when they begin to write; if one of these fails after that, the group is rolled back and done again,
now with a savepoint each. A run always goes to the same thread. On SQLite there
is one thread; on PostgreSQL a transaction holds the work of one run, so that no two wait for each other's runs.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy.exc import DataError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.database import begin_write, database_reason, write_nothing
from gradvitals_service.errors import MalformedError, OverloadedError, ServiceError
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.ingest.transaction import Memory, Transaction

MOST_QUEUED = 1024
MOST_QUEUED_BYTES = 256 * 2**20
MOST_IN_GROUP = 64
POSTGRESQL_THREADS = 4
SECONDS_PROVEN = 2.0  # for how long a commit shows that the database can be written to
SECONDS_TO_WRITE = 120.0  # after which work in the background gives up on its turn

_NO_RUN = UUID(int=0)

log = structlog.get_logger()


class MessageSink(Protocol):
    """Where commits are told; the hub of the live page."""

    def publish(self, message: dict[str, Any]) -> None:
        """Never blocks and never raises."""


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work on one run; ``apply`` writes through the transaction and gives the answer.

    ``plain`` work checks first and then sets ``transaction.writing``: until then a refusal has nothing to undo. It
    keeps to the transaction's ledger, which is written for all of it at once; ``stream`` and its layout are what it
    will look up there.
    """

    run_id: UUID
    apply: Callable[[Transaction], Any]
    size_bytes: int = 0
    plain: bool = False
    stream: tuple[StreamKey, str] | None = None
    future: "Future[Any]" = field(default_factory=Future)


def utc_now() -> datetime:
    """The service's own clock: when something arrived, never in which order."""
    return datetime.now(UTC)


class Submits(Protocol):
    """The writer, as far as work in the background needs it."""

    def submit(self, item: Item) -> Any:
        """Queue one piece of work; gives its future."""


class Writer:
    """The writer threads of this process; ``start`` before the first request, ``stop`` after the last one."""

    def __init__(
        self,
        session_factory: sessionmaker[Session],
        channels: Channels,
        hub: MessageSink,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        bind = session_factory.kw["bind"]
        self._one_run_a_transaction = bind.dialect.name == "postgresql"
        count = POSTGRESQL_THREADS if self._one_run_a_transaction else 1
        self._threads = [
            _WriterThread(session_factory, channels, hub, clock, self._one_run_a_transaction, 1 / count)
            for _ in range(count)
        ]

    def start(self) -> None:
        """Begin to take work."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 30.0) -> None:
        """Finish what was submitted, then end; what comes later is refused."""
        for thread in self._threads:
            thread.close()
        for thread in self._threads:
            thread.join(timeout_seconds)

    @property
    def alive(self) -> bool:
        """Whether every thread still writes."""
        return all(thread.is_alive() for thread in self._threads)

    def try_to_write(self) -> Iterator["Future[Any]"]:
        """One write that means nothing for each thread whose last one failed or lies back: how to learn of a fault
        before a client does, and that it is over.
        """
        for thread in self._threads:
            if thread.failing or time.monotonic() - thread.wrote_at >= SECONDS_PROVEN:
                trial = Item(_NO_RUN, lambda transaction: write_nothing(transaction.connection))
                thread.put(trial)
                yield trial.future

    def submit(self, item: Item) -> "Future[Any]":
        """Queue one piece of work; raises OverloadedError when too much is waiting already."""
        thread = self._threads[item.run_id.int % len(self._threads)]
        thread.put(item)
        return item.future


class _WriterThread(threading.Thread):
    """One thread; only ``put`` and ``close`` are called from others."""

    def __init__(
        self,
        session_factory: sessionmaker[Session],
        channels: Channels,
        hub: MessageSink,
        clock: Callable[[], datetime],
        one_run_a_transaction: bool,
        share: float,
    ) -> None:
        super().__init__(name="gradvitals-writer", daemon=True)
        self._session_factory = session_factory
        self._channels = channels
        self._hub = hub
        self._clock = clock
        self._one_run_a_transaction = one_run_a_transaction
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._most_queued, self._most_queued_bytes = int(MOST_QUEUED * share), int(MOST_QUEUED_BYTES * share)
        self._memory = Memory()
        self.failing = False  # whether the last transaction did not get through; ours, others only look
        self.wrote_at = -math.inf  # when the last one got through; the same
        self._lock = threading.Lock()  # guards the three below
        self._waiting = 0
        self._waiting_bytes = 0
        self._closed = False

    def put(self, item: Item) -> None:
        """Queue one item, or refuse it while the bounds are reached."""
        with self._lock:
            if self._closed:
                raise OverloadedError("the service is stopping")
            if self._waiting >= self._most_queued or self._waiting_bytes + item.size_bytes > self._most_queued_bytes:
                raise OverloadedError("more is waiting to be written than fits; try again")
            self._waiting += 1
            self._waiting_bytes += item.size_bytes
            self._queue.put(item)

    def close(self) -> None:
        """Let the thread end after what is queued."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)

    def run(self) -> None:
        """Take what has gathered, write it, again."""
        closing = False
        while not closing:
            group, closing = self._take_group()
            for part in self._transactions(group):
                self._write(part)

    def _take_group(self) -> tuple[list[Item], bool]:
        """Wait for one item, then take what else is there; True with the last group."""
        group: list[Item] = []
        while len(group) < MOST_IN_GROUP:
            try:
                item = self._queue.get(block=not group)
            except queue.Empty:
                break
            if item is None:
                return group, True
            with self._lock:
                self._waiting -= 1
                self._waiting_bytes -= item.size_bytes
            if item.future.set_running_or_notify_cancel():
                group.append(item)
        return group, False

    def _transactions(self, group: list[Item]) -> Iterator[list[Item]]:
        """Split a group where each run needs a transaction of its own; the order within a run stays."""
        if not self._one_run_a_transaction:
            if group:
                yield group
            return
        for _, items in groupby(sorted(group, key=lambda item: item.run_id), key=lambda item: item.run_id):
            yield list(items)

    def _write(self, items: Sequence[Item]) -> None:
        """One transaction, and the answers after its commit. A failed commit fails all of them; nothing was stored."""
        try:
            try:
                answers, transaction = self._commit(items, careful=False)
            except _SpoiledError:
                answers, transaction = self._commit(items, careful=True)
        except Exception as error:  # whatever it was, the thread must go on and everybody must hear
            known = isinstance(error, SQLAlchemyError)  # a fault of ours is logged with its place
            reason = database_reason(error) if known else type(error).__name__
            self.failing = True
            log.error("group_not_written", items=len(items), reason=reason, exc_info=None if known else error)
            for item in items:
                item.future.set_exception(OverloadedError("the database could not commit this; nothing was stored"))
            return
        self.failing, self.wrote_at = False, time.monotonic()
        self._memory.update(transaction.watches)
        self._answer(answers, transaction)

    def _commit(self, items: Sequence[Item], *, careful: bool) -> tuple[list[tuple[Item, Any]], Transaction]:
        with begin_write(self._session_factory) as session:
            transaction = Transaction(session, self._memory, self._channels, self._clock())
            if not careful:
                transaction.ledger.look_up([item.stream for item in items if item.stream])
            answers = [(item, _attempt(transaction, item, careful)) for item in items]
            _write_gathered(transaction)
        return answers, transaction

    def _answer(self, answers: Sequence[tuple[Item, Any]], transaction: Transaction) -> None:
        for item, answer in answers:
            if isinstance(answer, Exception):
                item.future.set_exception(answer)
            else:
                item.future.set_result(answer)
        for message in transaction.messages:
            self._hub.publish(message)


class _SpoiledError(Exception):
    """Work without a savepoint failed after it had begun to write."""


def _attempt(transaction: Transaction, item: Item, careful: bool) -> Any:
    """Do one piece of work, so that a bad one leaves nothing and sinks nobody else; gives its answer, or its error."""
    transaction.discard()
    in_savepoint = careful or not item.plain
    if in_savepoint:
        _write_gathered(transaction)
        transaction.ledger.drop()
    try:
        if not in_savepoint:
            answer = item.apply(transaction)
            transaction.session.flush()
        else:
            with transaction.session.begin_nested():
                answer = item.apply(transaction)
                transaction.ledger.write()
    except DataError as error:
        if not in_savepoint:
            raise _SpoiledError from error
        log.warning("value_refused_by_database", run_id=str(item.run_id), reason=database_reason(error))
        return MalformedError("the database refused a value that was sent; nothing of it was stored")
    except (OperationalError, InterfaceError, InternalError):
        raise  # the connection is gone or the disk is full: the whole group has failed
    except Exception as error:
        if not in_savepoint and (transaction.writing or not isinstance(error, ServiceError)):
            raise _SpoiledError from error
        return error  # it is handed to the request that waits for it
    finally:
        transaction.session.expunge_all()
        if in_savepoint:  # it may have changed anything
            transaction.ledger.drop()
    transaction.keep()
    return answer


def _write_gathered(transaction: Transaction) -> None:
    """Write what plain work has left in the ledger; whose part of it is refused cannot be told here."""
    try:
        transaction.ledger.write()
    except (OperationalError, InterfaceError, InternalError):
        raise
    except Exception as error:
        raise _SpoiledError from error
