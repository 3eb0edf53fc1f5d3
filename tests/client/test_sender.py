"""The sender against a service in memory and on a real socket: everything arrives once, whatever happens on the way."""

from __future__ import annotations

import math
import random
import threading
import time

import pytest
from client.building import ATTEMPT_ID, LAYOUT, OTHER_LAYOUT, RUN_ID, frame, running_sender, store
from client.fake_service import TOKEN, Scripted, running_service

from gradvitals import (
    ChunkRefusedError,
    MemoryTransport,
    NotDeclaredError,
    SendingStoppedError,
    ServiceUnavailableError,
)
from gradvitals.announce import Announcer
from gradvitals.frames import decode_chunk
from gradvitals.logged import LoggedValues
from gradvitals.route import OfflineRoute, SearchedRoute
from gradvitals.settings import Destination
from gradvitals.transport import HTTPTransport

DOWN = ServiceUnavailableError("down", retry_after=0.0)


class Told(Announcer):
    """Keeps what would have been printed."""

    def __init__(self) -> None:
        super().__init__(enabled=True)
        self.lines: list[str] = []
        self.said = threading.Condition()

    def say(self, line: str) -> None:
        with self.said:
            self.lines.append(line)
            self.said.notify_all()

    def wait_for(self, text: str) -> bool:
        with self.said:
            return self.said.wait_for(lambda: any(text in line for line in self.lines), 10)


class Refusing(MemoryTransport):
    """A service that takes no chunk of a certain kind."""

    def __init__(self, refuses) -> None:
        super().__init__()
        self.refuses = refuses

    def send_chunk(self, run_id, body):
        if self.refuses(decode_chunk(body, self.layouts)):
            self.requests.append("chunk")
            raise ChunkRefusedError("422: no")
        return super().send_chunk(run_id, body)


def submit(sender, steps: range, monitor: str = "main") -> None:
    for step in steps:
        sender.submit(monitor, frame(step), None)


def stored_steps(transport: MemoryTransport, monitor: str = "main") -> list[int]:
    return [frame.step for frame in transport.frames(monitor)]


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


class TestDelivering:
    def test_run_attempt_and_layout_are_declared_before_the_first_chunk(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(3))
            assert sender.close(5)
        assert transport.requests == ["run", "attempt", "layout", "chunk", "attempt"]
        assert (list(transport.runs), list(transport.attempts)) == ([RUN_ID], [ATTEMPT_ID])

    def test_every_step_arrives_once_and_in_order(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(1000))
            assert sender.close(5)
        assert stored_steps(transport) == list(range(1000))

    def test_frames_arrive_while_the_run_goes_on(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(2))
            assert transport.wait_for_frames(2)

    def test_a_non_finite_step_arrives_at_once_with_the_newest_frame(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(2))
            sender.submit("main", frame(2, global_norm=math.inf), None)
            assert transport.wait_for_frames(3)

    def test_logged_values_arrive_with_their_frame(self, transport):
        logged = LoggedValues()
        logged.add("loss", 0.5)
        with running_sender(transport) as sender:
            sender.submit("main", frame(0), logged)
            sender.close(5)
        assert transport.frames()[0].loss == 0.5

    def test_a_new_layout_is_declared_before_its_frames(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(1))
            sender.submit("main", frame(1, layout=OTHER_LAYOUT), None)
            sender.close(5)
        assert list(transport.layouts) == [LAYOUT.layout_id, OTHER_LAYOUT.layout_id]
        assert stored_steps(transport) == [0, 1]

    def test_two_monitors_have_streams_of_their_own(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(3), "main")
            submit(sender, range(2), "main-2")
            sender.close(5)
        assert (stored_steps(transport), stored_steps(transport, "main-2")) == ([0, 1, 2], [0, 1])

    def test_the_end_is_told_after_the_last_frame_with_its_counts(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(3))
            sender._attempt.state = "finished"
            sender.close(5)
        assert transport.attempts[ATTEMPT_ID]["state"] == "finished"
        assert transport.attempts[ATTEMPT_ID]["monitors"]["main"]["made"] == 3
        assert transport.requests[-2:] == ["chunk", "attempt"]

    def test_a_change_of_state_is_told_at_once(self, transport):
        with running_sender(transport) as sender:
            assert transport.wait_for("attempt", 1)
            sender.beat()
            assert transport.wait_for("attempt", 2, timeout_seconds=3)  # a heartbeat of its own comes after 5 s


class TestTrouble:
    @pytest.mark.parametrize("kind", ["run", "attempt", "layout", "chunk"])
    def test_a_service_that_is_away_for_one_request_gets_everything_later(self, transport, kind):
        transport.fail_next(DOWN, request=kind)
        with running_sender(transport) as sender:
            submit(sender, range(10))
            assert sender.close(5)
        assert stored_steps(transport) == list(range(10))
        assert transport.requests.count(kind) >= 2

    def test_a_lost_acknowledgement_does_not_store_a_frame_twice(self, transport):
        with running_sender(transport) as sender:
            transport.fail_next(DOWN, request="chunk", after_storing=True)
            submit(sender, range(10))
            assert sender.close(5)
        assert stored_steps(transport) == list(range(10))

    @pytest.mark.parametrize("seed", range(3))
    def test_every_step_arrives_once_through_any_mix_of_failures(self, transport, seed):
        chance = random.Random(seed)
        total = 0
        with running_sender(transport) as sender:
            for _ in range(60):
                transport.fail_next(DOWN, after_storing=chance.random() < 0.5)
                if chance.random() < 0.1:
                    transport.forget()
                count = chance.randrange(1, 100)
                submit(sender, range(total, total + count))
                sender.submit("main", frame(total + count, global_norm=math.inf), None)  # has all of them sent at once
                total += count + 1
            assert sender.close(30)
        assert stored_steps(transport) == list(range(total))
        assert transport.lost() == []

    def test_a_service_that_forgot_the_run_hears_of_it_again(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(5))
            assert transport.wait_for_frames(5)
            transport.forget()
            submit(sender, range(5, 10))
            assert sender.close(5)
        assert stored_steps(transport) == list(range(10))
        assert list(transport.runs) == [RUN_ID]

    def test_a_service_that_forgets_before_the_end_still_hears_of_it(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(5))
            assert transport.wait_for_frames(5)
            transport.forget()
            sender._attempt.state = "finished"
            assert sender.close(5)
        assert transport.attempts[ATTEMPT_ID]["state"] == "finished"

    def test_a_service_that_keeps_saying_declare_again_is_not_asked_without_pause(self, transport):
        told = Told()
        with running_sender(transport, announcer=told) as sender:
            assert transport.wait_for("attempt", 1)
            for _ in range(2):
                transport.fail_next(NotDeclaredError("unknown"), request="chunk")
            submit(sender, range(3))
            assert told.wait_for("though it was just declared")
            assert sender.close(5)
        assert stored_steps(transport) == [0, 1, 2]

    def test_what_a_service_lost_is_a_counted_gap_and_the_rest_arrives(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(10))
            assert transport.wait_for_frames(10)
            transport.forget(keep=4)
            submit(sender, range(10, 12))
            assert sender.close(5)
        assert stored_steps(transport) == [0, 1, 2, 3, 10, 11]
        assert [(lost.first, lost.n, lost.reason) for lost in transport.lost()] == [(4, 6, "rewound")]
        assert transport.attempts[ATTEMPT_ID]["monitors"]["main"]["lost"] == 6

    def test_the_one_frame_that_is_refused_is_a_counted_gap_told_once_and_all_others_arrive(self):
        told, transport = Told(), Refusing(lambda chunk: 37 in [frame.step for frame in chunk.frames])
        with running_sender(transport, announcer=told) as sender:
            submit(sender, range(100))
            assert sender.close(5)
        assert stored_steps(transport) == [step for step in range(100) if step != 37]
        assert [(lost.first, lost.n, lost.reason, lost.first_step) for lost in transport.lost()] == [
            (37, 1, "refused", 37)
        ]
        assert [line for line in told.lines if "refused" in line] == ["1 frame refused and given up: 422: no"]
        assert transport.requests.count("chunk") <= 32

    def test_chunks_that_are_too_large_for_the_service_arrive_in_smaller_ones(self):
        transport = Refusing(lambda chunk: len(chunk.frames) > 10)
        with running_sender(transport) as sender:
            submit(sender, range(300))
            assert sender.close(5)
        assert stored_steps(transport) == list(range(300))
        assert transport.lost() == []

    def test_of_a_layout_that_is_refused_every_frame_is_given_up_at_once(self, transport):
        transport.fail_next(ChunkRefusedError("413: too many layers"), request="layout")
        with running_sender(transport) as sender:
            submit(sender, range(5))
            assert sender.close(5)
        assert [(lost.first, lost.n, lost.reason) for lost in transport.lost()] == [(0, 5, "refused")]

    def test_an_overflowing_store_gives_up_the_oldest_in_a_counted_gap(self, transport):
        transport.go_away()
        with running_sender(transport, frames=store(max_frames=100)) as sender:
            submit(sender, range(250))
            transport.come_back()
            assert sender.close(5)
        assert stored_steps(transport) == list(range(150, 250))
        assert [(lost.first, lost.n, lost.reason) for lost in transport.lost()] == [(0, 150, "queue_full")]

    def test_a_wrong_token_is_told_once_and_nothing_more_is_sent(self, transport):
        told = Told()
        transport.fail_next(SendingStoppedError("401: the token is wrong"))
        with running_sender(transport, announcer=told) as sender:
            assert told.wait_for("401")
            submit(sender, range(3))
            assert not sender.close(5)
        assert transport.requests == ["run"]
        assert sum("401" in line for line in told.lines) == 1
        assert sender.outcome() == "not sent: 3 frames: 401: the token is wrong"

    def test_an_outage_and_its_end_are_one_line_each(self, transport):
        told = Told()
        with running_sender(transport, announcer=told) as sender:
            assert transport.wait_for("attempt", 1)
            for _ in range(3):
                transport.fail_next(DOWN, request="chunk")
            submit(sender, range(3))
            assert transport.wait_for_frames(3)
            sender.close(5)
        assert told.lines == [
            "down. Training goes on; frames wait in memory and are sent later",
            "the service answers again",
        ]

    def test_a_fault_of_our_own_ends_neither_the_thread_nor_the_training(self, transport):
        told = Told()
        with running_sender(transport, announcer=told) as sender:
            broken = frame(0)
            broken.layer_norms = None  # as a defect elsewhere might leave it
            sender.submit("main", broken, None)
            assert told.wait_for("a fault in gradvitals")
            submit(sender, range(3))
            assert sender.close(5)
        assert stored_steps(transport) == [0, 1, 2]


class TestEvents:
    def test_each_event_is_one_line_once(self, transport):
        told = Told()
        with running_sender(transport, announcer=told) as sender:
            assert transport.wait_for("attempt", 1)
            transport.report("non_finite", 7, "gru.weight_hh_l0 is NaN", cause="perhaps: the data")
            submit(sender, range(2))  # the acknowledgement says that there is news
            assert told.wait_for("gru.weight_hh_l0")
            sender.beat()
            assert transport.wait_for("attempt", 3)
            sender.close(5)
        assert told.lines == ["critical: non-finite at step 7: gru.weight_hh_l0 is NaN; perhaps: the data"]
        assert sender.events_told == 1

    def test_more_events_than_one_answer_holds_are_all_told(self, transport):
        told = Told()
        with running_sender(transport, announcer=told) as sender:
            assert transport.wait_for("attempt", 1)
            for step in range(45):
                transport.report("explosion", step, "m")
            sender.beat()
            assert told.wait_for("step 44")
            sender.close(5)
        assert [line.split(":")[1] for line in told.lines] == [f" explosion at step {step}" for step in range(45)]

    def test_what_an_earlier_attempt_was_told_is_not_told_again(self, transport):
        told = Told()
        transport.report("explosion", 3, "old")
        with running_sender(transport, announcer=told) as sender:
            assert transport.wait_for("attempt", 1)
            transport.report("explosion", 9, "new")
            sender.beat()
            assert told.wait_for("new")
            sender.close(5)
        assert len(told.lines) == 1


class TestClosing:
    def test_leaving_takes_no_longer_than_the_delivery(self, transport):
        with running_sender(transport) as sender:
            submit(sender, range(3))
            assert transport.wait_for_frames(3)
            started = time.monotonic()
            assert sender.close(60)
        assert time.monotonic() - started < 2  # a heartbeat's wait would take five

    def test_leaving_takes_no_longer_than_allowed_while_the_service_hangs(self):
        with running_service() as service:
            service.hanging.set()
            with running_sender(HTTPTransport(service.url, TOKEN)) as sender:
                submit(sender, range(3))
                assert service.asked.wait(10)
                assert not sender.close(0.2)
                assert sender.outcome().startswith("not sent: 3 frames")

    def test_a_back_off_ends_when_the_run_does(self, transport):
        told = Told()
        transport.fail_next(ServiceUnavailableError("busy", retry_after=60.0))
        with running_sender(transport, announcer=told) as sender:
            assert told.wait_for("busy")
            submit(sender, range(3))
            assert sender.close(5)
        assert stored_steps(transport) == [0, 1, 2]

    def test_a_connection_of_its_own_is_closed_with_the_run(self, transport):
        route = SearchedRoute(lambda: Destination("http://here", "gv_1"), lambda destination: transport)
        with running_sender(route) as sender:
            submit(sender, range(3))
            assert sender.close(5)
            assert transport.closed
        assert stored_steps(transport) == [0, 1, 2]

    def test_without_any_service_there_is_nothing_to_wait_for(self):
        with running_sender(OfflineRoute()) as sender:
            submit(sender, range(3))
            assert not sender.close(60)
            assert sender.outcome() == (
                "not sent: 3 frames: offline: frames are held in memory only and end with this process"
            )


class TestOverHTTP:
    def test_every_step_arrives_once_though_the_service_is_restarted(self):
        with running_service() as first:
            port, memory = first.port, first.store
            with running_sender(HTTPTransport(first.url, TOKEN)) as sender:
                submit(sender, range(100))
                assert memory.wait_for_frames(100)
                first.stop()
                submit(sender, range(100, 200))
                with running_service(port, memory):
                    assert sender.close(10)
        assert stored_steps(memory) == list(range(200))

    def test_nonsense_is_no_acknowledgement(self):
        page = Scripted(200, b"<html>Log in to the hotel's network</html>", content_type="text/html")
        with running_service() as service:
            service.answer_next(page)
            with running_sender(HTTPTransport(service.url, TOKEN)) as sender:
                submit(sender, range(10))
                assert sender.close(10)
            assert stored_steps(service.store) == list(range(10))

    @pytest.mark.parametrize("next", [0, 3, 11, 2**63])
    def test_an_acknowledgement_that_cannot_be_is_not_believed(self, next):
        with running_service() as service, running_sender(HTTPTransport(service.url, TOKEN)) as sender:
            assert service.store.wait_for("attempt", 1)
            submit(sender, range(10))
            service.answer_next(
                Scripted(200, b'{"layout_id": ""}'),
                Scripted(200, b'{"next": %d, "event_revision": 0}' % next),
            )
            assert sender.close(10)
        # The layout was swallowed too, so that a 404 leads to a second declaration.
        assert stored_steps(service.store) == list(range(10))
