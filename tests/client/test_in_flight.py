"""Frames whose numbers come from a device later are those that a step on the CPU would have made, only later.

The device is a pretended one: norms are tensors on the CPU, and a ring that says when its copies land.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import gradvitals
from gradvitals import MemoryTransport, NonFiniteGradientError
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP, PARAM_NORMS_EVERY, Frame
from gradvitals.in_flight import InFlight, Sent
from gradvitals.layers import Selection, WatchedParameters
from gradvitals.logged import LoggedValues
from gradvitals.monitor import Monitor
from gradvitals.norms import GradientNorms
from gradvitals.policy import MOST_SKIPS
from gradvitals.ring import SEGMENT_ROWS, WaitingRingDevice


class TwoWeights(nn.Module):
    """Two weights whose gradients a test sets; 3 and 4 have a global norm of 5."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.second = nn.Linear(1, 1, bias=False)

    def set_gradients(self, first: float, second: float) -> None:
        self.first.weight.grad = torch.full((1, 1), first)
        self.second.weight.grad = torch.full((1, 1), second)


def measured_on_a_device(measure):
    """What a monitor measures, as the tensors that it would be on a device."""

    def measured(monitor: Monitor):
        gradients, places, norms = measure(monitor)
        if not gradients:
            return gradients, places, norms  # where there is nothing, there is no device
        layer_norms = torch.tensor(norms.layer_norms)
        return gradients, places, GradientNorms(layer_norms, torch.linalg.vector_norm(layer_norms), norms.norm_type)

    return measured


class PretendedDevice(Monitor):
    """A monitor whose norms stay tensors."""

    _measure = measured_on_a_device(Monitor._measure)


class Collector:
    """A sink that keeps every frame, and what was logged before each."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.reserved: list[int] = []

    def submit(self, monitor: Monitor, frame: Frame, reserved: LoggedValues | None = None) -> None:
        self.frames.append(frame)

    def reserve(self, monitor: Monitor, step: int) -> LoggedValues:
        self.reserved.append(step)
        return LoggedValues()


class Loop:
    def __init__(self, kind: type[Monitor] = PretendedDevice, optimizer=None, **options) -> None:
        self.model = TwoWeights()
        self.optimizer = (
            optimizer(self.model.parameters()) if optimizer else torch.optim.SGD(self.model.parameters(), 0.1)
        )
        self.sink, self.told = Collector(), []
        self.monitor = kind(self.model, self.optimizer, sink=self.sink, tell=self.told.append, **options)

    def step(self, first: float = 3.0, second: float = 4.0) -> None:
        self.model.set_gradients(first, second)
        self.optimizer.step()

    @property
    def steps(self) -> list[int]:
        return [frame.step for frame in self.sink.frames]


class TestLateFrames:
    def test_a_frame_comes_after_its_step(self):
        loop = Loop()
        loop.step()
        assert loop.steps == []
        loop.step()
        assert loop.steps == [0]

    def test_every_frame_comes_in_the_end_and_in_order(self):
        loop = Loop()
        for _ in range(100):
            loop.step()
        loop.monitor.drain()
        assert loop.steps == list(range(100))

    def test_it_is_the_frame_that_the_host_would_have_made(self):
        late, prompt = Loop(max_norm=1.0), Loop(Monitor, max_norm=1.0)
        prompt.model.load_state_dict(late.model.state_dict())
        for loop in (late, prompt):
            for step in range(PARAM_NORMS_EVERY + 2):
                loop.step(3.0 * step, 4.0 * step)
            loop.monitor.close()
        assert len(late.sink.frames) == len(prompt.sink.frames)
        for ours, reference in zip(late.sink.frames, prompt.sink.frames, strict=True):
            assert ours.step == reference.step
            assert ours.flags == reference.flags
            assert ours.max_norm == reference.max_norm == 1.0
            assert ours.lr == pytest.approx(reference.lr)
            assert ours.global_norm == pytest.approx(reference.global_norm)
            assert ours.clip_coefficient == pytest.approx(reference.clip_coefficient)
            assert list(ours.layer_norms) == pytest.approx(list(reference.layer_norms))
            assert (ours.param_norms is None) == (reference.param_norms is None)
        assert list(late.sink.frames[64].param_norms) == pytest.approx(list(prompt.sink.frames[64].param_norms))

    def test_a_step_without_any_gradient_keeps_its_place(self):
        loop = Loop()
        loop.step()
        loop.optimizer.zero_grad()
        loop.optimizer.step()
        loop.step()
        loop.monitor.drain()
        assert [frame.global_norm for frame in loop.sink.frames] == [5.0, 0.0, 5.0]
        assert list(loop.sink.frames[1].layer_norms) == [0.0, 0.0]

    def test_a_change_of_the_limit_is_that_of_its_step(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.monitor.max_norm = 2.0
        loop.step()
        loop.monitor.drain()
        assert [frame.max_norm for frame in loop.sink.frames] == [1.0, 2.0]

    def test_closing_a_monitor_brings_what_is_on_its_way(self):
        loop = Loop()
        loop.step()
        loop.monitor.close()
        assert loop.steps == [0]

    def test_a_skip_is_made_at_once_and_told_later(self):
        loop = Loop(
            optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
            max_norm=1.0,
            on_non_finite="skip",
        )
        loop.step()
        before = loop.model.first.weight.item()
        loop.step(math.inf, 4.0)
        assert loop.model.first.weight.item() == before
        loop.monitor.drain()
        assert loop.sink.frames[1].flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP
        assert loop.monitor.last_healthy_step == 0

    def test_too_many_skips_end_the_training_some_steps_late(self):
        loop = Loop(
            optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
            on_non_finite="skip",
            max_norm=1.0,
        )
        loop.step()

        def keep_on() -> None:
            for _ in range(MOST_SKIPS + 2 * SEGMENT_ROWS):  # by then they have come, also in a fast loop
                loop.step(math.nan, 4.0)

        with pytest.raises(NonFiniteGradientError, match="first"):
            keep_on()


class TestCapture:
    def test_a_captured_step_is_clipped_by_torch_and_makes_no_frame(self, monkeypatch):
        loop = Loop(max_norm=1.0)
        loop.monitor._watched.on_cuda = True
        monkeypatch.setattr("gradvitals.monitor.capturing", lambda: True)
        loop.step()
        loop.step()
        assert loop.model.first.weight.grad.item() == pytest.approx(0.6)
        assert [line for line in loop.told if "CUDA graph" in line] == loop.told
        assert len(loop.told) == 1
        assert (loop.monitor.step, loop.sink.reserved) == (0, [])


class TestARun:
    @pytest.fixture(autouse=True)
    def _on_a_pretended_device(self, monkeypatch, tmp_path):
        monkeypatch.setattr(Monitor, "_measure", PretendedDevice._measure)
        monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))

    def test_what_is_logged_stays_with_its_step(self):
        transport = MemoryTransport()
        model = TwoWeights()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer)
            for step in range(50):
                run.log(loss=float(step))
                if step % 3 == 2:
                    run.log({"late": step - 1}, step=step - 1)
                model.set_gradients(3.0, 4.0)
                optimizer.step()
        frames = transport.frames()
        assert [frame.step for frame in frames] == list(range(50))
        assert [frame.loss for frame in frames] == [float(step) for step in range(50)]
        assert {frame.step: frame.scalars.get("late") for frame in frames if "late" in frame.scalars} == {
            step: float(step) for step in range(1, 49, 3)
        }


class TestNumbersOfADevice:
    def test_what_was_logged_there_comes_with_the_row(self):
        model = TwoWeights()
        watched = WatchedParameters(model, torch.optim.SGD(model.parameters(), 0.1), Selection())

        in_flight = InFlight(WaitingRingDevice(torch.device("cpu")))
        logged = LoggedValues()
        logged.add("loss", 1.0)
        logged._sums["loss"].add(torch.tensor(3.0), 1)  # kept as a tensor, as one on a device is
        sent = Sent(7, 0.0, math.inf, watched, None, 2.0, None)
        in_flight.send(
            sent, logged, torch.tensor([3.0, 4.0]), (torch.tensor(5.0), 1.0, 0.1, 1.0, torch.tensor(0.0)), None
        )
        [arrived] = in_flight.drain(1.0)
        assert arrived.layer_norms == [3.0, 4.0]
        assert arrived.numbers == [5.0, 1.0, 0.1, 1.0, 0.0]
        assert logged._sums["loss"].mean() == 2.0
