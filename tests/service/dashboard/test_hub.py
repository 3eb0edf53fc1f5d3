"""From the writer threads to the open streams: in order, bounded, and never in the writers' way."""

import asyncio
import functools
import threading
import time
from collections.abc import Awaitable, Callable

from gradvitals_service.dashboard.hub import Batch, Hub, Wanted


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test, for five seconds at most."""

    @functools.wraps(test)
    def run(self):
        asyncio.run(asyncio.wait_for(test(self), 5))

    return run


def frames(run_id: str, step: int) -> dict:
    """A message about one frame."""
    return {"type": "frames", "run_id": run_id, "columns": {"step": [step]}}


def event(run_id: str) -> dict:
    """A message about one event."""
    return {"type": "event", "run_id": run_id, "event": {}}


def summary(run_id: str) -> dict:
    """A message about a run's figures."""
    return {"type": "summary", "run_id": run_id, "json": "{}"}


def told(batch: Batch) -> list[tuple[str, str, int | None]]:
    """What a batch says: kind, run and, of frames, the step."""
    return [
        (message["type"], message["run_id"], message["columns"]["step"][0] if "columns" in message else None)
        for message in batch.messages
    ]


class TestSubscription:
    @on_loop
    async def test_gets_what_was_published_in_order(self):
        hub = Hub()
        with hub.subscribe(Wanted(frozenset("a"))) as subscription:
            hub.publish(frames("a", 0))
            hub.publish(event("b"))
            hub.publish(summary("b"))
            hub.publish(frames("a", 1))
            batch = await subscription.take(1)
        assert told(batch) == [("frames", "a", 0), ("event", "b", None), ("summary", "b", None), ("frames", "a", 1)]
        numbers = [message["number"] for message in batch.messages]
        assert numbers == sorted(set(numbers))
        assert not batch.resync

    @on_loop
    async def test_gets_frames_only_of_the_runs_it_named(self):
        hub = Hub()
        with hub.subscribe(Wanted(frozenset("a"))) as subscription:
            hub.publish(frames("b", 0))
            hub.publish(frames("a", 1))
            assert told(await subscription.take(1)) == [("frames", "a", 1)]

    @on_loop
    async def test_gets_of_other_runs_what_it_asked_for(self):
        hub = Hub()
        with (
            hub.subscribe(Wanted(frozenset("a"), "events")) as of_events,
            hub.subscribe(Wanted(frozenset("a"), "none")) as of_none,
        ):
            for message in (summary("b"), event("b"), summary("a"), event("a")):
                hub.publish(message)
            assert told(await of_events.take(1)) == [("event", "b", None), ("summary", "a", None), ("event", "a", None)]
            assert told(await of_none.take(1)) == [("summary", "a", None), ("event", "a", None)]

    @on_loop
    async def test_loses_the_oldest_when_it_is_slow_and_is_told_to_read_again(self):
        hub = Hub()
        with hub.subscribe(Wanted(frozenset("a")), limit=2) as subscription:
            for step in range(5):
                hub.publish(frames("a", step))
            batch = await subscription.take(1)
            assert told(batch) == [("frames", "a", 3), ("frames", "a", 4)]
            assert batch.resync
            hub.publish(frames("a", 5))
            assert not (await subscription.take(1)).resync

    @on_loop
    async def test_rests_until_an_event_comes(self):
        hub = Hub()
        with hub.subscribe() as subscription:
            hub.publish(summary("a"))
            resting = asyncio.ensure_future(subscription.rest(60))
            await asyncio.sleep(0)
            assert not resting.done()
            hub.publish(event("a"))
            await resting
            assert told(await subscription.take(1)) == [("summary", "a", None), ("event", "a", None)]

    @on_loop
    async def test_is_woken_by_another_thread(self):
        hub = Hub()
        with hub.subscribe() as subscription:
            waiting = asyncio.ensure_future(subscription.take(None))
            await asyncio.sleep(0)
            writer = threading.Thread(target=hub.publish, args=[event("a")])
            writer.start()
            assert told(await waiting) == [("event", "a", None)]
            writer.join()

    @on_loop
    async def test_loses_nothing_between_many_writers_and_one_reader(self):
        hub = Hub()

        def write():
            for step in range(500):
                hub.publish(frames("a", step))

        with hub.subscribe(Wanted(frozenset("a")), limit=10_000) as subscription:
            writers = [threading.Thread(target=write) for _ in range(4)]
            for writer in writers:
                writer.start()
            received = 0
            while received < 2000:
                received += len((await subscription.take(None)).messages)
            for writer in writers:
                writer.join()
        assert received == 2000

    @on_loop
    async def test_gives_an_empty_batch_when_the_time_is_over(self):
        with Hub().subscribe() as subscription:
            batch = await subscription.take(0.01)
        assert (batch.messages, batch.resync) == ([], False)


class TestSince:
    @on_loop
    async def test_begins_with_what_was_told_before_it_came(self):
        hub = Hub()
        with hub.subscribe() as first:
            hub.publish(event("before"))
            await first.take(1)
            with hub.subscribe(since_seconds=0.0) as later:
                assert told(await later.take(0.01)) == []
        # a hub knows nothing of the time before it began
        with hub.subscribe(since_seconds=60.0) as earlier:
            assert await earlier.take(1) == Batch([], resync=True)

    @on_loop
    async def test_has_the_runs_told_again_that_changed_meanwhile(self):
        hub = Hub()
        began = time.monotonic()
        await asyncio.sleep(0.01)
        hub.publish({"type": "run", "run_id": "a"})
        hub.publish(frames("a", 0))
        with hub.subscribe(Wanted(frozenset("a")), since_seconds=time.monotonic() - began - 0.005) as subscription:
            assert told(await subscription.take(1)) == [("frames", "a", 0)]
            assert await hub.changes.take(10) == ["a"]


class TestClose:
    @on_loop
    async def test_ends_a_wait_at_once(self):
        hub = Hub()
        with hub.subscribe() as subscription:
            waiting = asyncio.ensure_future(subscription.take(None))
            await asyncio.sleep(0)
            hub.close()
            await waiting
            assert subscription.closed

    @on_loop
    async def test_closes_a_subscription_that_comes_later_from_its_start(self):
        hub = Hub()
        hub.close()
        with hub.subscribe() as subscription:
            await subscription.take(None)
            assert subscription.closed


class TestHub:
    def test_publishing_after_the_event_loop_is_gone_disturbs_no_writer(self):
        hub = Hub()
        subscribing = hub.subscribe()

        async def leave_it_open():
            return subscribing.__enter__()

        subscription = asyncio.run(leave_it_open())
        hub.publish(event("a"))
        assert subscription.closed

    @on_loop
    async def test_forgets_a_reader_that_left(self):
        hub = Hub()
        with hub.subscribe():
            assert len(hub) == 1
        assert len(hub) == 0
