"""More comes than can be written: who does not fit is told to come back, at once; who fits is written."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from service.speaking import ServiceUnderTest
from starlette.types import Message, Receive, Scope, Send

from gradvitals_service.auth.guards import BodyLimit
from gradvitals_service.errors import OverloadedError
from gradvitals_service.ingest import writer
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import POSTGRESQL_THREADS, Item

TIMEOUT = 20.0


def hold_the_writer(service: ServiceUnderTest, run_id: UUID) -> threading.Event:
    """Keep the run's writer thread busy until the event is set."""
    entered, release = threading.Event(), threading.Event()

    def wait(transaction: Transaction) -> None:
        entered.set()
        assert release.wait(TIMEOUT)

    service.app.state.writer.submit(Item(run_id, wait))
    assert entered.wait(TIMEOUT)
    return release


def test_who_does_not_fit_is_told_at_once_and_nobody_waits_for_a_timeout(
    make_service: Callable[..., ServiceUnderTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_QUEUED", 4 * POSTGRESQL_THREADS)
    service = make_service()
    run = service.declare_run()
    room = 4 * POSTGRESQL_THREADS if service.app.state.engine.dialect.name == "sqlite" else 4
    release = hold_the_writer(service, run.run_id)
    answers: list[Any] = []
    refused = threading.Semaphore(0)

    def send() -> None:
        answer = run.post(run.chunk(0, 3))
        answers.append(answer)
        if answer.status_code == 503:
            refused.release()

    with ThreadPoolExecutor(30) as pool:
        sending = [pool.submit(send) for _ in range(30)]
        for _ in range(30 - room):  # those are answered while the writer is still held up
            assert refused.acquire(timeout=TIMEOUT)
        release.set()
        for sent in sending:
            sent.result()
    late = [answer for answer in answers if answer.status_code == 503]
    assert [answer.headers["Retry-After"] for answer in late] == ["1"] * (30 - room)
    assert [answer.json()["next"] for answer in answers if answer.status_code == 200] == [3] * room
    assert service.get(run.path)["frames"] == 3


def test_bodies_that_are_more_at_once_than_fits_are_told_to_come_back() -> None:
    """Two bodies of 6 bytes where 10 fit: the second is refused, and fits once the first is through."""

    async def scenario() -> list[object]:
        seen: list[object] = []
        inside, leave = asyncio.Event(), asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            inside.set()
            await leave.wait()

        async def body() -> Message:
            return {"type": "http.request", "body": b"6bytes", "more_body": False}

        async def nowhere(message: Message) -> None:
            pass

        guard = BodyLimit(application, most_in_flight=10)
        scope = {"type": "http", "path": "/", "headers": []}
        first = asyncio.create_task(guard(scope, body, nowhere))
        await asyncio.wait_for(inside.wait(), TIMEOUT)
        try:
            await guard(scope, body, nowhere)
        except OverloadedError as refusal:
            seen.append(refusal.status_code)
        leave.set()
        await first
        await guard(scope, body, nowhere)
        return [*seen, "through"]

    assert asyncio.run(scenario()) == [503, "through"]
