"""Rows come out of a ring once, in order and whole, or are counted as lost, whenever and however copies arrive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradvitals.ring import COPY_SECONDS, MOST_SEGMENTS, SEGMENT_ROWS, Ring, WaitingRingDevice, capturing, ring_device

CPU = torch.device("cpu")


class Clock:
    """Time that passes when it is told to, and by a hair whenever it is read, so that a wait comes to its end."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


class PendingCopy:
    """A copy that reads and writes memory only once it is told to land, as a late one does."""

    def __init__(self, source: torch.Tensor, target: torch.Tensor) -> None:
        self.source, self.target = source.view(-1), target.view(-1)
        self.is_done = False

    def land(self) -> None:
        self.target.copy_(self.source)
        self.is_done = True

    def land_partly(self, share: float, *, end_first: bool = False) -> None:
        """Say that all is there, though the copy was cut off."""
        cut = int(share * len(self.source))
        part = slice(len(self.source) - cut, None) if end_first else slice(0, cut)
        self.target[part] = self.source[part]
        self.is_done = True

    def query(self) -> bool:
        return self.is_done


class SlowDevice(WaitingRingDevice):
    """A device on which kernels run at once and copies when a test says so: the worst that can happen to a row."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.copies: list[PendingCopy] = []  # in the order in which they were asked for
        self.current_stream = "first"
        self.ordered: list[tuple[object, object]] = []
        self.keeps_up = False  # copies land as soon as they are asked for
        self.captures = False
        self.fails_to_copy = False

    def capturing(self) -> bool:
        return self.captures

    def stream(self) -> str:
        return self.current_stream

    def order(self, before: object, after: object) -> None:
        self.ordered.append((before, after))

    def copy(self, source: torch.Tensor, target: torch.Tensor, stream: object) -> PendingCopy:
        if self.fails_to_copy:
            raise RuntimeError("out of memory")
        self.copies.append(PendingCopy(source, target))
        if self.keeps_up:
            self.land_everything()
        return self.copies[-1]

    def land_everything(self) -> None:
        for copy in self.copies:
            if not copy.is_done:
                copy.land()


class Loop:
    """A ring on a slow device. Row k holds k, k + 0.5 and 7."""

    def __init__(self, device: SlowDevice | None = None) -> None:
        self.device, self.clock = device or SlowDevice(), Clock()
        self.ring: Ring[int] = Ring(self.device, clock=self.clock)
        self.steps = 0

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            step, self.steps = self.steps, self.steps + 1
            self.ring.write([torch.tensor([step, step + 0.5]), torch.tensor(7.0)], step)

    def pass_time(self) -> None:
        self.clock.now += COPY_SECONDS

    def read(self) -> list[int]:
        """The steps whose rows have arrived, with the numbers that were written for them."""
        return self._steps_of(self.ring.ready())

    def drain(self, timeout_seconds: float = 0.0) -> list[int]:
        return self._steps_of(self.ring.drain(timeout_seconds))

    def _steps_of(self, rows: list[tuple[int, np.ndarray]]) -> list[int]:
        for step, row in rows:
            assert row.tolist() == [step, step + 0.5, 7.0]
        return [step for step, _ in rows]


def rows_of(device: SlowDevice, *rows: list[float], dtype: torch.dtype = torch.float32) -> list[list[float]]:
    """What arrives when these rows are written to a new ring on a device that keeps up."""
    device.keeps_up = True
    ring: Ring[int] = Ring(device)
    for place, row in enumerate(rows):
        ring.write([torch.tensor(row, dtype=dtype)], place)
    return [row.tolist() for _, row in ring.drain(1.0)]


class TestARow:
    def test_is_not_there_before_its_copy_has_arrived(self):
        loop = Loop()
        loop.write()
        assert loop.read() == []
        loop.device.land_everything()
        assert loop.read() == [0]

    def test_comes_out_once(self):
        loop = Loop()
        loop.device.keeps_up = True
        loop.write()
        assert (loop.read(), loop.read(), loop.drain()) == ([0], [], [])

    def test_waits_for_an_older_one_whose_copy_is_slower(self):
        loop = Loop()
        loop.write()
        loop.write(SEGMENT_ROWS)
        older, newer = loop.device.copies
        newer.land()
        assert loop.read() == []
        older.land()
        assert loop.read() == list(range(1 + SEGMENT_ROWS))

    def test_is_kept_when_its_memory_is_used_again(self):
        loop = Loop()
        loop.device.keeps_up = True
        loop.write()
        [(_, row)] = loop.ring.ready()
        for _ in range(2 * MOST_SEGMENTS):
            loop.write(SEGMENT_ROWS)
            loop.read()
        assert row.tolist() == [0.0, 0.5, 7.0]

    def test_may_be_shorter_than_the_one_before(self):
        assert rows_of(SlowDevice(), [1.0, 2.0, 3.0], [4.0], [5.0, 6.0]) == [[1.0, 2.0, 3.0], [4.0], [5.0, 6.0]]

    def test_may_be_longer_than_those_that_are_on_their_way(self):
        loop = Loop()
        loop.write(2)
        seen = []
        for step in range(2, 2 * MOST_SEGMENTS * SEGMENT_ROWS):
            loop.ring.write([torch.tensor([float(step)] * 5)], step)
            loop.device.land_everything()
            seen += loop.ring.ready()
        loop.device.keeps_up = True
        seen += loop.ring.drain(1.0)
        assert [row.tolist() for _, row in seen[:3]] == [[0.0, 0.5, 7.0], [1.0, 1.5, 7.0], [2.0] * 5]
        assert len(seen) == 2 * MOST_SEGMENTS * SEGMENT_ROWS

    def test_in_double_precision_stays_so(self):
        assert rows_of(SlowDevice(), [1e300, 1 / 3], dtype=torch.float64) == [[1e300, 1 / 3]]

    def test_that_is_not_finite_arrives_as_it_is(self):
        [row] = rows_of(SlowDevice(), [float("nan"), float("inf"), 1.0])
        np.testing.assert_array_equal(row, [np.nan, np.inf, 1.0])

    def test_arrives_also_after_more_steps_than_float32_can_count(self):
        loop = Loop()
        loop.device.keeps_up = True
        loop.ring._written = 2**24
        loop.write(3 * SEGMENT_ROWS)
        assert loop.drain() == list(range(3 * SEGMENT_ROWS))

    def test_leaves_no_number_behind_that_could_be_taken_for_the_next_one(self):
        loop = Loop()
        loop.device.keeps_up = True
        loop.write()
        assert loop.read() == [0]
        assert loop.device.copies[0].target.isnan().all()


class TestCopies:
    def test_a_slow_loop_has_each_row_copied_at_once(self):
        loop = Loop()
        loop.device.keeps_up = True
        for step in range(3):
            loop.write()
            assert loop.read() == [step]
            loop.pass_time()
        assert len(loop.device.copies) == 3

    def test_a_fast_loop_has_several_rows_copied_together(self):
        loop = Loop()
        loop.write()  # at once, since nothing was copied before
        loop.write(2 * SEGMENT_ROWS)
        assert len(loop.device.copies) == 3

    def test_asking_for_rows_sends_off_those_that_were_left_lying(self):
        loop = Loop()
        loop.device.keeps_up = True
        loop.write(3)
        assert loop.read() == [0]
        loop.pass_time()
        assert loop.read() == [1, 2]

    def test_a_copy_that_failed_is_tried_again(self):
        loop = Loop()
        loop.device.keeps_up = True
        loop.write(SEGMENT_ROWS)
        loop.device.fails_to_copy = True
        with pytest.raises(RuntimeError, match="out of memory"):
            loop.write()
        loop.device.fails_to_copy = False
        loop.write()
        assert loop.drain() == list(range(SEGMENT_ROWS + 2))
        assert loop.ring.lost == 0

    def test_another_stream_waits_for_the_rows_of_the_first(self):
        loop = Loop()
        loop.write(2)
        loop.device.current_stream = "second"
        loop.write(2)
        assert loop.device.ordered == [("first", "second")]


class TestLoss:
    def test_a_full_ring_loses_the_newest_rows_and_counts_them(self):
        loop = Loop()
        loop.write(2 * MOST_SEGMENTS * SEGMENT_ROWS)
        kept = loop.steps - loop.ring.lost
        assert (MOST_SEGMENTS - 1) * SEGMENT_ROWS < kept < loop.steps
        loop.device.land_everything()
        assert loop.read() == list(range(kept))

    def test_a_full_ring_goes_on_once_there_is_room(self):
        loop = Loop()
        loop.write(2 * MOST_SEGMENTS * SEGMENT_ROWS)
        loop.device.land_everything()
        loop.read()
        lost = loop.ring.lost
        loop.device.keeps_up = True
        loop.write()
        assert loop.drain() == [loop.steps - 1]
        assert loop.ring.lost == lost

    def test_a_copy_that_never_came_is_a_lost_row_and_not_a_tiny_norm(self):
        # What pinned memory held before the copy was read as a norm of 1e-22 once.
        loop = Loop()
        loop.write()
        loop.device.copies[0].land_partly(0.0)
        assert loop.read() == []
        assert loop.ring.lost == 1

    @pytest.mark.parametrize("end_first", [False, True])
    def test_of_a_copy_that_was_cut_off_the_whole_rows_are_kept(self, end_first):
        loop = Loop()
        loop.write(1 + SEGMENT_ROWS)
        loop.device.copies[0].land()
        loop.device.copies[1].land_partly(0.5 + 0.5 / SEGMENT_ROWS, end_first=end_first)  # 8 rows of 16, and a half
        kept = range(9, 17) if end_first else range(1, 9)
        assert loop.read() == [0, *kept]
        assert loop.ring.lost == SEGMENT_ROWS // 2

    def test_a_copy_that_lands_a_round_too_late_is_not_taken_for_the_new_row(self):
        loop = Loop()
        loop.write()
        [late] = loop.device.copies
        row_of_step_0 = late.source.clone()
        late.land_partly(0.0)
        for _ in range(MOST_SEGMENTS):  # until the ring has come round to the same memory
            loop.read()
            loop.pass_time()
            loop.write()
            loop.device.land_everything()
        newest = loop.device.copies[-1]
        assert newest.target.data_ptr() == late.target.data_ptr()
        newest.target.copy_(row_of_step_0)
        assert loop.read() == []
        assert loop.ring.lost == 2


class TestDrain:
    def test_waits_for_what_is_on_its_way(self):
        class LandsWhenAskedForTheThirdTime(PendingCopy):
            asked = 0

            def query(self) -> bool:
                self.asked += 1
                if self.asked == 3:
                    self.land()
                return super().query()

        loop = Loop()
        loop.device.copy = lambda source, target, stream: LandsWhenAskedForTheThirdTime(source, target)
        loop.write(3)
        assert loop.drain(timeout_seconds=1.0) == [0, 1, 2]

    def test_counts_what_does_not_arrive_in_time_as_lost(self):
        loop = Loop()
        loop.write(3)
        assert loop.drain() == []
        assert loop.ring.lost == 3

    def test_leaves_a_ring_that_can_be_used_again(self):
        loop = Loop()
        loop.write()
        loop.drain()
        loop.device.keeps_up = True
        loop.write()
        assert loop.drain() == [1]


class TestCapture:
    def test_nothing_is_touched_while_a_graph_is_captured(self):
        loop = Loop()
        loop.write()
        loop.device.land_everything()
        loop.device.captures = True
        loop.write()
        loop.pass_time()
        assert (loop.read(), loop.drain()) == ([], [])
        assert len(loop.device.copies) == 1
        loop.device.captures = False
        assert loop.read() == [0]
        assert loop.ring.lost == 1

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this is about a machine without CUDA")
    def test_without_cuda_nothing_is_ever_captured(self):
        assert capturing() is False


class TestMemory:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_ring_for_a_thousand_layers_takes_less_than_a_mebibyte(self, dtype):
        ring: Ring[int] = Ring(SlowDevice())
        ring.write([torch.zeros(1000, dtype=dtype), torch.zeros(8, dtype=dtype)], 0)
        assert 0 < ring.memory_bytes < 1 << 20

    def test_is_allocated_once_and_no_less_than_is_said(self):
        class CountingDevice(SlowDevice):
            allocated = 0

            def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
                rows, landing = super().allocate(shape, dtype)
                self.allocated += rows.nbytes + landing.nbytes
                return rows, landing

        device = CountingDevice()
        device.keeps_up = True
        loop = Loop(device)
        for _ in range(3 * MOST_SEGMENTS * SEGMENT_ROWS):
            loop.write()
            loop.read()
        assert 0 < device.allocated <= loop.ring.memory_bytes


class TestADeviceWithoutStreams:
    def test_gives_its_rows_by_a_copy_that_waits(self):
        ring: Ring[str] = Ring(ring_device(CPU))
        ring.write([torch.tensor([3.0, 4.0]), torch.tensor(5.0)], "first")
        ring.write([torch.tensor([6.0, 8.0]), torch.tensor(10.0)], "second")
        rows = ring.ready() + ring.drain(1.0)
        assert [(host, row.tolist()) for host, row in rows] == [
            ("first", [3.0, 4.0, 5.0]),
            ("second", [6.0, 8.0, 10.0]),
        ]


ACTIONS = ["write", "read", "pass time", "land", "cut off", "cut off at the front", "start a capture", "end it"]


class TestAnySchedule:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 40)), max_size=60))
    def test_rows_come_out_once_in_order_and_whole_or_are_counted_as_lost(self, schedule):
        loop, seen = Loop(), []
        for action, amount in schedule:
            on_their_way = [copy for copy in loop.device.copies if not copy.is_done]
            if action == "write":
                loop.write(amount)
            elif action == "read":
                seen += loop.read()
            elif action == "pass time":
                loop.pass_time()
            elif "capture" in action or action == "end it":
                loop.device.captures = action == "start a capture"
            elif on_their_way and action == "land":
                on_their_way[amount % len(on_their_way)].land()  # in any order
            elif on_their_way:
                on_their_way[0].land_partly(amount / 40, end_first=action == "cut off at the front")
        loop.device.captures = False
        loop.device.keeps_up = True
        loop.device.land_everything()
        seen += loop.drain()
        assert seen == sorted(set(seen))
        assert len(seen) + loop.ring.lost == loop.steps

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.booleans()), max_size=30))
    def test_nothing_is_lost_on_a_device_that_is_a_few_copies_behind(self, rounds):
        loop, seen = Loop(), []
        for count, behind, pause in rounds:
            loop.write(count)
            for copy in loop.device.copies[: max(len(loop.device.copies) - behind, 0)]:
                if not copy.is_done:
                    copy.land()
            if pause:
                loop.pass_time()
            seen += loop.read()
        loop.device.keeps_up = True
        loop.device.land_everything()
        assert seen + loop.drain() == list(range(loop.steps))
        assert loop.ring.lost == 0


def test_a_slow_loop_whose_host_runs_ahead_fills_whole_segments():
    loop = Loop()
    for _ in range(3 * SEGMENT_ROWS):  # each step takes long enough for a copy of its own
        loop.pass_time()
        loop.write()
        loop.read()
    loop.device.land_everything()
    assert loop.ring.lost == 0
    assert len(loop.device.copies) == 3  # one row, while nothing was on its way; then as many as there is room for
