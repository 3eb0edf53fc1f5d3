"""Which part of a chunk is new: skipped, trimmed, taken or refused."""

import pytest

from gradvitals_service.errors import MalformedError, OutOfOrderError
from gradvitals_service.ingest.exactly_once import Accepted, LostRange, accept


def lost(first: int, n: int, **steps: int) -> LostRange:
    return LostRange(first, n, "queue_full", **steps)


def test_frames_that_begin_where_the_stream_ends_are_taken() -> None:
    assert accept(10, [], first=10, n=5) == Accepted((), skip=0, next_frame=15)


def test_frames_that_are_all_here_are_skipped() -> None:
    assert accept(10, [], first=5, n=5) == Accepted((), skip=5, next_frame=10)
    assert accept(10, [], first=0, n=3) == Accepted((), skip=3, next_frame=10)


def test_frames_that_overlap_are_trimmed() -> None:
    assert accept(10, [], first=7, n=5) == Accepted((), skip=3, next_frame=12)


def test_frames_beyond_the_end_are_refused_with_the_place_to_send_from() -> None:
    with pytest.raises(OutOfOrderError, match="begin at 11, but only 10") as refusal:
        accept(10, [], first=11, n=5)
    assert refusal.value.extra == {"next": 10}


def test_a_lost_range_counts_like_frames() -> None:
    gap = lost(10, 4)
    assert accept(10, [gap], first=14, n=2) == Accepted((gap,), skip=0, next_frame=16)


def test_several_lost_ranges_are_taken_in_turn() -> None:
    gaps = [lost(10, 4), LostRange(14, 1, "refused")]
    assert accept(10, gaps, first=15, n=1) == Accepted(tuple(gaps), skip=0, next_frame=16)


def test_a_lost_range_alone_moves_the_count() -> None:
    gap = lost(0, 7)
    assert accept(0, [gap], first=7, n=0) == Accepted((gap,), skip=0, next_frame=7)


def test_a_lost_range_that_overlaps_is_trimmed_and_its_first_step_forgotten() -> None:
    gap = lost(8, 4, first_step=108, last_step=111)
    expected = LostRange(10, 2, "queue_full", first_step=None, last_step=111)
    assert accept(10, [gap], first=12, n=1) == Accepted((expected,), skip=0, next_frame=13)


def test_a_repeat_of_lost_ranges_and_frames_gives_nothing_new() -> None:
    assert accept(16, [lost(10, 4)], first=14, n=2) == Accepted((), skip=2, next_frame=16)


def test_a_repeat_that_reaches_further_gives_only_what_is_new() -> None:
    assert accept(15, [lost(10, 4)], first=14, n=3) == Accepted((), skip=1, next_frame=17)


def test_a_lost_range_beyond_the_end_is_refused_too() -> None:
    with pytest.raises(OutOfOrderError):
        accept(10, [lost(11, 4)], first=15, n=1)


def test_after_a_taken_lost_range_the_frames_must_follow_at_once() -> None:
    with pytest.raises(OutOfOrderError) as refusal:
        accept(10, [lost(10, 2)], first=13, n=1)
    assert refusal.value.extra == {"next": 12}


def test_a_count_that_no_database_holds_is_refused() -> None:
    with pytest.raises(MalformedError, match="first: too large"):
        accept(2**63 - 2, [], first=2**63 - 2, n=2)
    assert accept(2**63 - 2, [], first=2**63 - 2, n=1).next_frame == 2**63 - 1
