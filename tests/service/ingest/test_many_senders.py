"""Chunks that come several times, overlapping, in any order, from several threads, to one or two replicas."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from service.speaking import ServiceUnderTest, Speaker

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.dashboard.hub import Hub
from gradvitals_service.ingest.writer import Writer

SENDERS = 4


def norm(step: int) -> float:
    """A norm that tells its step, so that a frame in another's place would be seen."""
    return 1.0 + step / 4096


def deliver(run: Speaker, deliveries: list[tuple[int, int]]) -> None:
    """Send each until it is not too early any more; an overloaded service is asked again."""
    while deliveries:
        again = []
        for first, n in deliveries:
            body = run.chunk(first, n, global_norm=[norm(step) for step in range(first, first + n)])
            answer = run.post(body)
            assert answer.status_code in (200, 409, 503), answer.text
            if answer.status_code != 200:
                again.append((first, n))
        deliveries = again


def assert_every_frame_once(run: Speaker, frames: int) -> None:
    series = run.service.get(f"{run.path}/series", points=10_000, metrics="global_norm")
    assert series["step"] == list(range(frames))
    assert series["series"]["global_norm"]["min"] == [norm(step) for step in range(frames)]
    assert run.service.get(run.path)["frames"] == frames


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak), pytest.param(2, marks=pytest.mark.soak)])
def test_every_frame_is_stored_once(make_service: Callable[..., ServiceUnderTest], seed: int) -> None:
    """On PostgreSQL two replicas share the database; SQLite serves one process."""
    one = make_service()
    replicas = [one] if one.app.state.engine.dialect.name == "sqlite" else [one, make_service()]
    run = one.declare_run()
    chance = random.Random(seed)
    frames, deliveries = 0, []
    while frames < 200:
        n = chance.randint(1, 40)
        overlap = min(frames, chance.choice([0, 0, 3, 20]))
        deliveries += [(frames - overlap, n + overlap)] * chance.randint(1, 5)
        frames += n
    chance.shuffle(deliveries)
    shares = [deliveries[k::SENDERS] for k in range(SENDERS)]
    speakers = [Speaker(replicas[k % len(replicas)], run.run_id, run.attempt_id) for k in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(deliver, speakers, shares))
    assert_every_frame_once(run, frames)


def test_clocks_that_jump_by_an_hour_change_no_order_and_lose_nothing(service: ServiceUnderTest) -> None:
    """The client's clock and the service's, each forth and back."""
    hours = iter([0, 1, 0, -1, 1, -1, 0, 0, 1, -1] * 10)

    def jumping() -> datetime:
        return datetime.now(UTC) + timedelta(hours=next(hours))

    state = service.app.state
    state.writer.stop()
    state.writer = Writer(state.session_factory, Channels(), Hub(), clock=jumping)
    state.writer.start()
    run = service.declare_run()
    for first, jump in zip(range(0, 60, 10), (0, 3600, -3600, 7200, 0, -7200), strict=True):
        steps = range(first, first + 10)
        times = [1_790_000_000.0 + step + jump for step in steps]
        run.heartbeat(started_at=1_790_000_000.0)
        run.send(first, 10, time=times, global_norm=[norm(step) for step in steps])
    assert_every_frame_once(run, 60)
    assert service.get(run.path)["last_step"] == 59
    assert service.get(f"{run.path}/events")["events"] == []
