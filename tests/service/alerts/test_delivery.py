"""From a bad step to somebody's phone: written with the event, sent until it got through, by whoever lives."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from service.alerts.making import NOON
from service.speaking import ServiceUnderTest, Speaker
from service_process import ServiceProcess
from sqlalchemy import select

from gradvitals_service.alerts import outbox
from gradvitals_service.alerts.channels import ChannelError
from gradvitals_service.alerts.dispatcher import LEASE, LONGEST_SLEEP_SECONDS, Courier
from gradvitals_service.alerts.message import Message
from gradvitals_service.alerts.models import Delivery
from gradvitals_service.database import begin_write

NAN = float("nan")


def blow_up(run: Speaker, step: int) -> None:
    """One step whose gradient is not finite: a critical event."""
    run.send(step, 1, global_norm=[NAN], layer_norms=[NAN, 4.0], flags=[3])


def deliveries(service: ServiceUnderTest) -> list[Delivery]:
    """What the outbox holds."""
    with service.app.state.session_factory.begin() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.channel)))


class FakeChannel:
    """Fails as often as told, then keeps what it is sent."""

    name = description = "fake-1"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **time: float) -> None:
        self.time += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    """Noon."""
    return Clock()


@pytest.fixture
def enqueue(service: ServiceUnderTest) -> Callable[[], Delivery]:
    """Write a delivery to the fake channel, due at noon."""

    def write(**changes: object) -> Delivery:
        values = {
            "delivery_id": uuid4(),
            "run_id": uuid4(),
            "event_id": uuid4(),
            "channel": FakeChannel.name,
            "title": "a title",
            "body": "a body",
            "state": "due",
            "tries": 0,
            "due_at": NOON,
            "created_at": NOON,
        }
        delivery = Delivery(**values | changes)
        with service.app.state.session_factory.begin() as session:
            session.add(delivery)
        return delivery

    return write


@pytest.fixture
def serving(database_url: str, tmp_path: Path) -> Callable[..., AbstractContextManager[ServiceUnderTest]]:
    """Services that end before the test does, on the database that ``service`` has too."""

    @contextmanager
    def serve(**settings: object) -> Iterator[ServiceUnderTest]:
        service = ServiceUnderTest(database_url, tmp_path, **settings)
        with service.client:
            yield service

    return serve


class TestAlert:
    """Over HTTP, with a real receiver."""

    def test_goes_to_every_channel_once_however_often_the_event_changes(self, service, serving, make_receiver):
        receivers = [make_receiver(200), make_receiver(200)]
        with serving(alert=[receiver.url for receiver in receivers], public_url="https://gv.example.com") as alerting:
            run = alerting.declare_run(name="gru, plain", owner="ada")
            run.send(0, 3)
            for step in (3, 4, 5):
                blow_up(run, step)
            for receiver in receivers:
                received = receiver.received.get(timeout=10)
                assert received["title"] == '[gradvitals] non-finite gradients in "gru, plain" (gru-lm) at step 3'
                assert f"Run: https://gv.example.com/runs/{run.run_id}" in received["message"]
                assert "Layers: encoder.weight." in received["message"]
                assert "Now: step 3, global norm nan, loss 1, max_norm off." in received["message"]
        assert [row.state for row in deliveries(service)] == ["delivered", "delivered"]
        assert all(receiver.received.empty() for receiver in receivers)

    def test_names_the_checkpoint_to_resume_from(self, serving, make_receiver):
        receiver = make_receiver(200)
        with serving(alert=[receiver.url]) as alerting:
            run = alerting.declare_run()
            run.send(0, 20)
            run.save(10, 20)
            run.save(30, clean=False)
            blow_up(run, 20)
            told = receiver.received.get(timeout=10)["message"]
        assert "resume from step 20." in told
        assert told.endswith("Checkpoint: /checkpoints/20.pt (newer ones that are not clean: 1)")

    def test_goes_out_at_once(self, serving, make_receiver):
        receiver = make_receiver(200)
        with serving(alert=[receiver.url]) as alerting:
            run = alerting.declare_run()
            run.send(0, 3)
            begin = time.monotonic()
            blow_up(run, 3)
            receiver.received.get(timeout=10)
        assert time.monotonic() - begin < LONGEST_SLEEP_SECONDS / 2

    def test_that_was_refused_is_sent_again_by_the_next_service(self, serving, make_receiver):
        receiver = make_receiver(500, 200)
        with serving(alert=[receiver.url]) as first:
            blow_up(first.declare_run(), 0)
            assert receiver.received.get(timeout=10)["answered"] == 500
        with serving(alert=[receiver.url]):
            assert receiver.received.get(timeout=15)["answered"] == 200

    def test_holds_no_secret_in_the_database(self, service, serving, make_receiver):
        receiver = make_receiver(500)
        with serving(alert=[receiver.url]) as alerting:
            blow_up(alerting.declare_run(), 0)
            receiver.received.get(timeout=10)
        (row,) = deliveries(service)
        assert (row.state, row.tries) == ("due", 1)
        assert "500" in row.error
        assert "s3cret" not in " ".join(str(getattr(row, column.key)) for column in Delivery.__table__.columns)

    def test_is_for_new_events_and_not_for_the_end_of_an_old_one(self, make_service, make_receiver):
        run = make_service().declare_run()
        blow_up(run, 0)
        alerting = make_service(alert=[make_receiver(200).url])
        run.service = alerting
        run.send(1, 30)
        (event,) = alerting.get(f"{run.path}/events")["events"]
        assert (event["status"], event["severity"]) == ("resolved", "critical")
        assert deliveries(alerting) == []

    def test_is_not_sent_for_a_late_sync(self, make_service, make_receiver):
        service = make_service(alert=[make_receiver(200).url])
        run = service.declare_run()
        run.heartbeat(live=False)
        blow_up(run, 0)
        assert service.get(f"{run.path}/events")["events"]
        assert deliveries(service) == []

    def test_is_not_written_where_nobody_is_to_be_told(self, service: ServiceUnderTest):
        blow_up(service.declare_run(), 0)
        assert deliveries(service) == []

    def test_that_hangs_holds_up_no_other_channel(self, make_service, make_receiver):
        hanging, other = make_receiver(0), make_receiver(200)
        service = make_service(alert=[hanging.url, other.url])
        blow_up(service.declare_run(), 0)
        assert other.received.get(timeout=10)["answered"] == 200
        hanging.release.set()


class TestCourier:
    """By hand, with a clock that stands."""

    def test_delivers_what_is_due(self, service, clock, enqueue):
        enqueue()
        channel = FakeChannel()
        courier = Courier(service.app.state.session_factory, channel, clock)
        assert courier.deliver_one()
        assert not courier.deliver_one()
        assert channel.sent == [Message("a title", "a body")]
        assert [row.state for row in deliveries(service)] == ["delivered"]

    def test_waits_longer_after_each_failure(self, service, clock, enqueue):
        enqueue()
        channel = FakeChannel(ChannelError("no route"), ChannelError("no route"))
        courier = Courier(service.app.state.session_factory, channel, clock)
        for pause in (5, 15):
            assert courier.deliver_one()
            clock.forward(seconds=pause - 1)
            assert not courier.deliver_one()
            clock.forward(seconds=1)
        assert courier.deliver_one()
        assert len(channel.sent) == 1
        assert [(row.state, row.tries, row.error) for row in deliveries(service)] == [("delivered", 2, None)]

    def test_gives_up_after_thirty_tries_in_more_than_a_day(self, service, clock, enqueue):
        enqueue()
        channel = FakeChannel(*[ChannelError("no route")] * 100)
        courier = Courier(service.app.state.session_factory, channel, clock)
        tries = 0
        while clock.time < NOON + timedelta(days=3):
            tries += courier.deliver_one()
            clock.forward(minutes=10)
        assert tries == outbox.MOST_TRIES == 30
        (row,) = deliveries(service)
        assert (row.state, row.error) == ("given_up", "no route")
        assert row.due_at > NOON + timedelta(days=1)

    def test_outlives_a_channel_with_a_bug(self, service, clock, enqueue):
        enqueue()
        courier = Courier(service.app.state.session_factory, FakeChannel(ZeroDivisionError("s3cret")), clock)
        assert courier.deliver_one()
        assert [row.error for row in deliveries(service)] == ["the channel failed with ZeroDivisionError"]

    def test_sends_again_what_a_dead_one_had_taken_once_its_lease_is_over(self, service, clock, enqueue):
        enqueue()
        factory, channel = service.app.state.session_factory, FakeChannel()
        with begin_write(factory) as session:
            assert outbox.lease_oldest(session, channel.name, clock(), clock() + LEASE)
        courier = Courier(factory, channel, clock)
        assert not courier.deliver_one()
        clock.time += LEASE
        assert courier.deliver_one()
        assert len(channel.sent) == 1

    def test_leaves_other_channels_alone(self, service, clock, enqueue):
        enqueue(channel="fake-2")
        assert not Courier(service.app.state.session_factory, FakeChannel(), clock).deliver_one()

    def test_delivers_the_oldest_first(self, service, clock, enqueue):
        enqueue(title="second", due_at=NOON - timedelta(seconds=1))
        enqueue(title="first", due_at=NOON - timedelta(seconds=2))
        channel = FakeChannel()
        courier = Courier(service.app.state.session_factory, channel, clock)
        while courier.deliver_one():
            pass
        assert [message.title for message in channel.sent] == ["first", "second"]


class TestDispatcher:
    def test_ends_with_the_service_although_a_channel_is_away(self, serving, make_receiver):
        receiver = make_receiver(500)
        with serving(alert=[receiver.url]) as alerting:
            blow_up(alerting.declare_run(), 0)
            receiver.received.get(timeout=10)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("gradvitals-alerts")]
        assert receiver.received.empty()

    def test_of_a_killed_service_is_sent_by_the_next_one_at_once(self, tmp_path, make_receiver):
        receiver = make_receiver(0, 200)
        service = ServiceProcess(tmp_path, "--alert", receiver.url).start()
        frames = [{"step": 0, "global_norm": "NaN"}]
        service.post(f"/api/v1/runs/{uuid4()}/frames", {"project": "p", "name": "n", "frames": frames})
        assert receiver.received.get(timeout=10)["answered"] == 0
        service.kill()
        begin = time.monotonic()
        service.start()
        assert receiver.received.get(timeout=30)["answered"] == 200
        assert time.monotonic() - begin < LEASE.total_seconds() / 2
        assert service.stop() == 0
        assert "s3cret" not in service.log.read_text()
