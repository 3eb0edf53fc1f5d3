"""MemoryTransport counts as the wire says, since tests of training code lean on it."""

from __future__ import annotations

import pytest
from client.building import ATTEMPT_ID, LAYOUT, RUN_ID, attempt, declaration, frame

from gradvitals import MemoryTransport, NotDeclaredError, OutOfOrderError, ServiceUnavailableError
from gradvitals.frames import Chunk, LostRange, encode_chunk


def declared() -> MemoryTransport:
    transport = MemoryTransport()
    transport.declare_run(RUN_ID, declaration().body())
    transport.declare_attempt(RUN_ID, ATTEMPT_ID, attempt().body({}, 0))
    transport.declare_layout(RUN_ID, LAYOUT.layout_id, LAYOUT.to_json())
    return transport


def send(transport: MemoryTransport, steps: range, lost: tuple[LostRange, ...] = ()) -> int:
    frames = [frame(step) for step in steps]
    return transport.send_chunk(RUN_ID, encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, steps.start, frames, lost))).next


def steps(transport: MemoryTransport) -> list[int]:
    return [frame.step for frame in transport.frames()]


def test_what_is_here_already_is_skipped():
    transport = declared()
    assert [send(transport, range(3)), send(transport, range(3)), send(transport, range(2))] == [3, 3, 3]
    assert steps(transport) == [0, 1, 2]


def test_what_overlaps_is_trimmed():
    transport = declared()
    send(transport, range(3))
    assert send(transport, range(1, 5)) == 5
    assert steps(transport) == [0, 1, 2, 3, 4]


def test_a_hole_is_out_of_order_and_nothing_is_stored():
    transport = declared()
    send(transport, range(3))
    with pytest.raises(OutOfOrderError) as raised:
        send(transport, range(4, 6))
    assert raised.value.next == 3
    assert steps(transport) == [0, 1, 2]


def test_a_lost_range_fills_its_hole():
    transport = declared()
    send(transport, range(3))
    assert send(transport, range(6, 8), (LostRange(2, 4, "queue_full", 2, 5),)) == 8
    assert steps(transport) == [0, 1, 2, 6, 7]
    assert transport.lost() == [LostRange(3, 3, "queue_full", None, 5)]  # trimmed, as the service does


def test_a_hole_between_the_lost_and_the_frames_stores_neither():
    transport = declared()
    with pytest.raises(OutOfOrderError):
        send(transport, range(6, 8), (LostRange(0, 4, "queue_full", 0, 3),))
    assert (transport.lost(), transport.frames()) == ([], [])


@pytest.mark.parametrize("known", ["nothing", "run", "attempt"])
def test_what_was_not_declared_is_said_to_be_so(known):
    transport = MemoryTransport()
    if known != "nothing":
        transport.declare_run(RUN_ID, declaration().body())
    if known == "attempt":
        transport.declare_attempt(RUN_ID, ATTEMPT_ID, attempt().body({}, 0))
    with pytest.raises(NotDeclaredError):
        send(transport, range(1))


def test_an_arranged_failure_happens_once():
    transport = declared()
    transport.fail_next(ServiceUnavailableError("down"))
    with pytest.raises(ServiceUnavailableError):
        send(transport, range(1))
    assert send(transport, range(1)) == 1


def test_a_lost_acknowledgement_has_stored():
    transport = declared()
    transport.fail_next(ServiceUnavailableError("down"), after_storing=True)
    with pytest.raises(ServiceUnavailableError):
        send(transport, range(1))
    assert steps(transport) == [0]


def test_it_can_be_away_for_a_while():
    transport = declared()
    transport.go_away()
    with pytest.raises(ServiceUnavailableError):
        send(transport, range(1))
    transport.come_back()
    assert send(transport, range(1)) == 1
