"""Frames that wait in memory: when a chunk is due, what is given up, and what an acknowledgement lets go of."""

from __future__ import annotations

import math
import threading
import weakref

import pytest
from client.building import ATTEMPT_ID, LAYOUT, OTHER_LAYOUT, frame

from gradvitals.frames import Frame, Layout, LostRange
from gradvitals.logged import LoggedValues
from gradvitals.pending import INBOX_FRAMES, Counts, PendingFrames


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pending(clock: Clock, **options: int) -> PendingFrames:
    def unexpected(name: str, fault: Exception) -> None:
        raise AssertionError(name) from fault

    return PendingFrames(ATTEMPT_ID, on_unreadable=unexpected, clock=clock, **options)


def add(frames: PendingFrames, steps: range, monitor: str = "main") -> None:
    for step in steps:
        frames.add(monitor, frame(step), None)


def wakes(frames: PendingFrames, made: Frame) -> bool:
    """Whether adding this frame has the sender look."""
    calls = []
    frames.start(lambda: calls.append("look"), dict)
    frames.add("main", made, None)
    return bool(calls)


def failing(*arguments: object) -> None:
    raise RuntimeError("a fault")


def steps(chunk) -> list[int]:
    return [frame.step for frame in chunk.frames]


def logged(**values: float) -> LoggedValues:
    result = LoggedValues()
    for name, value in values.items():
        result.add(name, value)
    return result


class TestWhenAChunkIsDue:
    def test_not_before_a_quarter_of_a_second(self, clock):
        frames = pending(clock)
        add(frames, range(3))
        clock.now += 0.24
        assert frames.take(flush=False) is None
        assert frames.due_in() == pytest.approx(0.01)

    def test_after_a_quarter_of_a_second_without_the_newest_frame(self, clock):
        frames = pending(clock)
        add(frames, range(2))
        clock.now += 0.25
        frames.add("main", frame(2), None)
        assert steps(frames.take(flush=False)) == [0, 1]

    def test_the_newest_frame_follows_when_no_step_comes(self, clock):
        frames = pending(clock)
        add(frames, range(1))
        clock.now += 0.25
        assert steps(frames.take(flush=False)) == [0]

    def test_as_soon_as_there_are_256_frames_beside_the_newest(self, clock):
        frames = pending(clock)
        add(frames, range(256))
        assert frames.take(flush=False) is None
        add(frames, range(256, 257))
        assert frames.due_in() == 0.0
        assert steps(frames.take(flush=False)) == list(range(256))

    def test_as_soon_as_there_is_a_mebibyte(self, clock):
        frames = pending(clock)
        add(frames, range(3))
        for step in (3, 4):
            big = frame(step)
            big.layer_norms = big.layer_norms.repeat(80_000)  # 640 kB
            frames.add("main", big, None)
        assert frames.due_in() == 0.0
        assert steps(frames.take(flush=False)) == [0, 1, 2, 3]

    def test_one_huge_frame_is_not_due_and_not_ready_at_the_same_time(self, clock):
        frames = pending(clock)
        big = frame(0)
        big.layer_norms = big.layer_norms.repeat(200_000)
        frames.add("main", big, None)
        assert frames.take(flush=False) is None
        assert frames.due_in() == pytest.approx(0.25)

    def test_at_once_on_a_non_finite_step(self, clock):
        frames = pending(clock)
        add(frames, range(2))
        assert wakes(frames, frame(2, global_norm=math.nan))
        assert steps(frames.take(flush=False)) == [0, 1, 2]

    def test_the_sender_is_woken_for_the_first_frame_and_not_for_every_one(self, clock):
        frames = pending(clock)
        assert wakes(frames, frame(0))
        assert not wakes(frames, frame(1))

    def test_the_sender_is_woken_again_once_it_was_told_that_nothing_waits(self, clock):
        frames = pending(clock)
        add(frames, range(1))
        frames.acknowledge(frames.take(flush=True), 1)
        assert not wakes(frames, frame(1))  # it has not looked since, and will before it sleeps
        assert frames.due_in() == 0.25
        frames.acknowledge(frames.take(flush=True), 2)
        assert frames.due_in() is None
        assert wakes(frames, frame(2))

    def test_a_sender_that_waits_for_a_chunk_to_be_due_is_left_alone(self, clock):
        frames = pending(clock)
        add(frames, range(1))
        assert frames.due_in() == 0.25
        assert not wakes(frames, frame(1))

    def test_nothing_is_due_without_frames(self, clock):
        frames = pending(clock)
        assert frames.take(flush=True) is None
        assert frames.due_in() is None

    def test_a_chunk_has_one_layout(self, clock):
        frames = pending(clock)
        add(frames, range(2))
        frames.add("main", frame(2, layout=OTHER_LAYOUT), None)
        first = frames.take(flush=True)
        assert steps(first) == [0, 1]
        frames.acknowledge(first, 2)
        assert frames.take(flush=True).layout == OTHER_LAYOUT

    def test_the_monitor_that_waited_longest_goes_first(self, clock):
        frames = pending(clock)
        add(frames, range(1), "main")
        clock.now += 1
        add(frames, range(1), "main-2")
        first = frames.take(flush=True)
        frames.acknowledge(first, 1)
        clock.now += 1
        add(frames, range(1, 2), "main")
        assert (first.monitor, frames.take(flush=True).monitor) == ("main", "main-2")


class TestAmending:
    def test_values_join_a_frame_that_is_still_held(self, clock):
        frames = pending(clock)
        add(frames, range(3))
        assert frames.amend("main", 1, logged(accuracy=0.5))
        assert [frame.scalars for frame in frames.take(flush=True).frames] == [{}, {"accuracy": 0.5}, {}]

    def test_they_count_as_logged_in_that_step(self, clock):
        frames = pending(clock)
        frames.add("main", frame(0), logged(loss=1.0))
        frames.amend("main", 0, logged(loss=2.0))
        assert frames.take(flush=True).frames[0].loss == 1.5

    def test_a_frame_that_was_taken_is_not_changed_any_more(self, clock):
        frames = pending(clock)
        add(frames, range(2))
        frames.take(flush=True)
        assert not frames.amend("main", 1, logged(loss=1.0))

    def test_a_step_far_back_is_found_without_looking_at_all_of_them(self, clock):
        looked_at = []

        class Watched(Frame):
            @property
            def step(self) -> int:
                looked_at.append(self)
                return self.first_step

            @step.setter
            def step(self, step: int) -> None:
                self.first_step = step

        frames = pending(clock)
        for step in range(1000):
            made = frame(step)
            frames.add("main", Watched(**{name: getattr(made, name) for name in Frame.__slots__}), None)
        looked_at.clear()
        assert frames.amend("main", 17, logged(loss=0.5))
        assert len(looked_at) < 20
        assert frames.take(flush=True).frames[17].loss == 0.5

    def test_a_step_that_never_was_is_not_found(self, clock):
        frames = pending(clock)
        add(frames, range(0, 10, 2))
        assert not frames.amend("main", 3, logged(loss=1.0))
        assert not frames.amend("critic", 1, logged(loss=1.0))


class TestTheInbox:
    """The training thread appends to a list; whoever holds the lock next sorts it."""

    def test_adding_does_not_wait_for_whoever_sorts(self, clock):
        frames = pending(clock)
        sorting, added = threading.Event(), threading.Event()

        class Heavy(Frame):
            """A frame that is sorted for as long as the next one is not added."""

            @property
            def nbytes(self) -> int:
                sorting.set()
                assert added.wait(10)
                return 0

        made = frame(0)
        frames.add("main", Heavy(**{name: getattr(made, name) for name in Frame.__slots__}), None)
        sender = threading.Thread(target=frames.counts)
        sender.start()
        assert sorting.wait(10)
        frames.add("main", frame(1), None)
        added.set()
        sender.join(10)
        assert frames.counts()["main"].made == 2

    def test_where_nobody_looks_the_training_thread_sorts_so_that_the_bounds_hold(self, clock):
        frames = pending(clock, max_frames=10)
        made = [frame(step) for step in range(INBOX_FRAMES)]
        for one in made:
            one.layout = Layout(LAYOUT.layers)
        held = [weakref.ref(one.layout) for one in made]
        while made:
            frames.add("main", made.pop(0), None)
        assert sum(layout() is not None for layout in held) == 10


class TestBounds:
    def test_the_oldest_frames_are_given_up_as_one_counted_range(self, clock):
        frames = pending(clock, max_frames=10)
        add(frames, range(100, 125))
        chunk = frames.take(flush=True)
        assert chunk.lost == (LostRange(0, 15, "queue_full", 100, 114),)
        assert (chunk.first, steps(chunk)) == (15, list(range(115, 125)))
        assert frames.counts() == {"main": Counts(made=25, waiting=10, lost=15)}

    def test_bytes_are_bounded_too(self, clock):
        size = frame(0).nbytes
        frames = pending(clock, max_bytes=4 * size)
        add(frames, range(6))
        assert frames.counts()["main"] == Counts(made=6, waiting=4, lost=2)

    def test_the_newest_frame_is_kept_however_large(self, clock):
        frames = pending(clock, max_bytes=1)
        add(frames, range(2))
        assert steps(frames.take(flush=True)) == [1]

    def test_the_monitor_with_the_oldest_frame_gives_it_up(self, clock):
        frames = pending(clock, max_frames=2)
        add(frames, range(1), "main")
        clock.now += 1
        add(frames, range(2), "main-2")
        assert frames.counts() == {"main": Counts(1, 0, 1), "main-2": Counts(2, 2, 0)}

    def test_a_monitor_that_lost_everything_still_tells_so(self, clock):
        frames = pending(clock, max_frames=1)
        add(frames, range(1), "main")
        clock.now += 1
        add(frames, range(1), "main-2")
        frames.acknowledge(chunk := frames.take(flush=True), 1)
        told = frames.take(flush=True)
        assert {chunk.monitor, told.monitor} == {"main", "main-2"}
        empty = min(chunk, told, key=lambda c: len(c.frames))
        assert (empty.first, steps(empty), empty.lost) == (1, [], (LostRange(0, 1, "queue_full", 0, 0),))


class TestAcknowledging:
    def test_lets_go_of_what_the_service_holds(self, clock):
        frames = pending(clock)
        add(frames, range(5))
        frames.acknowledge(frames.take(flush=True), 3)
        assert frames.counts() == {"main": Counts(made=5, waiting=2, lost=0)}
        assert steps(frames.take(flush=True)) == [3, 4]

    def test_frames_given_up_while_they_were_on_their_way_are_not_lost_after_all(self, clock):
        frames = pending(clock, max_frames=5)
        add(frames, range(5))
        on_its_way = frames.take(flush=True)
        add(frames, range(5, 8))
        assert frames.counts()["main"].lost == 3
        frames.acknowledge(on_its_way, 5)
        assert frames.counts()["main"] == Counts(made=8, waiting=3, lost=0)
        assert frames.take(flush=True).lost == ()

    def test_an_acknowledged_lost_range_stays_counted_and_is_not_sent_again(self, clock):
        frames = pending(clock, max_frames=2)
        add(frames, range(5))
        frames.acknowledge(frames.take(flush=True), 5)
        assert frames.counts()["main"] == Counts(made=5, waiting=0, lost=3)
        add(frames, range(5, 6))
        assert frames.take(flush=True).lost == ()

    def test_a_range_that_grew_meanwhile_is_cut_at_what_the_service_holds(self, clock):
        frames = pending(clock, max_frames=5)
        add(frames, range(5))
        on_its_way = frames.take(flush=True)
        add(frames, range(5, 12))
        assert frames.counts()["main"].lost == 7  # 0 to 6 were given up
        frames.acknowledge(on_its_way, 5)
        assert frames.take(flush=True).lost == (LostRange(5, 2, "queue_full", None, 6),)


class TestGivingUpAndRewinding:
    def test_a_refused_chunk_becomes_a_lost_range_before_the_next_frames(self, clock):
        frames = pending(clock)
        add(frames, range(3))
        frames.give_up(frames.take(flush=True), "refused")
        add(frames, range(3, 4))
        chunk = frames.take(flush=True)
        assert (chunk.lost, steps(chunk)) == ((LostRange(0, 3, "refused", 0, 2),), [3])

    def test_a_service_that_knows_more_than_we_thought_is_believed(self, clock):
        frames = pending(clock)
        add(frames, range(5))
        assert frames.rewind("main", 2)
        assert steps(frames.take(flush=True)) == [2, 3, 4]

    def test_what_a_service_forgot_and_we_no_longer_hold_is_lost(self, clock):
        frames = pending(clock)
        add(frames, range(5))
        frames.acknowledge(frames.take(flush=True), 5)
        add(frames, range(5, 6))
        assert frames.rewind("main", 2)
        chunk = frames.take(flush=True)
        assert (chunk.lost, chunk.first) == ((LostRange(2, 3, "rewound"),), 5)
        frames.acknowledge(chunk, 6)
        assert frames.counts()["main"] == Counts(made=6, waiting=0, lost=3)

    @pytest.mark.parametrize("next", [0, 6])
    def test_a_count_that_changes_nothing_or_cannot_be_is_said_to_be_so(self, clock, next):
        frames = pending(clock)
        add(frames, range(5))
        assert not frames.rewind("main", next)

    def test_a_fault_of_ours_while_letting_go_leaves_a_stream_that_can_go_on(self, clock, monkeypatch):
        frames = pending(clock)
        add(frames, range(4))
        frames.acknowledge(frames.take(flush=True, most={"main": 1}), 1)
        chunk = frames.take(flush=True, most={"main": 1})
        with monkeypatch.context() as patch:
            patch.setattr(frames, "_forget", failing)
            with pytest.raises(RuntimeError):
                frames.acknowledge(chunk, 2)
        assert frames.rewind("main", 1)  # the service has forgotten it as well
        chunk = frames.take(flush=True)
        assert (chunk.lost, steps(chunk)) == ((LostRange(1, 1, "rewound"),), [2, 3])
