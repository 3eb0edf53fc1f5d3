"""A monitor never gets in the way of the training: not where it fails, is closed, copied, or watched over."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import random
import weakref

import numpy as np
import pytest
import torch
from client.looping import Collector, Loop, ThreeAndFour, fused_sgd, sgd
from torch import nn

from gradvitals.frames import Frame
from gradvitals.monitor import Monitor, monitor_of


class BrokenSink:
    """A sink that breaks its promise."""

    def submit(self, monitor: Monitor, frame: Frame) -> None:
        raise OSError("no space left")


class TestFaults:
    """Something of ours breaks: the gradients are clipped all the same, and one line says so."""

    def broken_model(self, **options) -> Loop:
        loop = Loop(lambda parameters: torch.optim.SGD([next(parameters)], lr=0.1), **options)
        loop.model.named_parameters = lambda: 1 / 0  # asked for the names of the added parameter, it breaks
        loop.optimizer.add_param_group({"params": [loop.model.second.weight]})
        return loop

    def test_what_could_not_be_measured_is_clipped_by_torch(self):
        loop = self.broken_model(max_norm=1.0)
        for _ in range(2):
            loop.step()
            assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert loop.frames == []
        (line,) = loop.told_of
        assert "ZeroDivisionError" in line
        assert "still clipped" in line

    def test_elements_are_clipped_by_torch_too(self):
        loop = self.broken_model(clip_value=3.5)
        loop.step()
        assert loop.model.gradients() == [3.0, 3.5]

    def test_what_was_only_observed_stays_as_it_is(self):
        loop = self.broken_model()
        loop.step()
        assert loop.model.gradients() == [3.0, 4.0]

    def test_a_fault_after_the_clip_does_not_clip_twice(self):
        loop, torchs = Loop(max_norm=1.0, sink=BrokenSink()), ThreeAndFour()
        loop.step()
        torchs.set_gradients()
        nn.utils.clip_grad_norm_(torchs.parameters(), 1.0)
        assert loop.model.gradients() == torchs.gradients()
        assert "no space left" in loop.told[0]

    def test_gradients_that_nothing_can_clip_are_told_loudly_and_not_raised(self):
        loop = self.broken_model(max_norm=1.0)
        indices, values = torch.tensor([[0], [0]]), torch.tensor([3.0])
        loop.model.first.weight.grad = torch.sparse_coo_tensor(indices, values, (1, 1), check_invariants=True)
        loop.optimizer.step()  # torch's own clip takes no sparse gradients
        assert any("COULD NOT BE CLIPPED" in line for line in loop.told)

    def test_the_next_step_is_measured_again(self):
        loop = self.broken_model(max_norm=1.0)
        loop.step()
        del loop.model.named_parameters
        loop.step()
        assert loop.frame.step == 1
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]


class TestAfterTheRun:
    def test_steps_are_clipped_but_not_recorded_and_that_is_said_once(self):
        loop = Loop(max_norm=1.0)
        loop.monitor.stop_recording()
        for _ in range(2):
            loop.step()
            assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert loop.frames == []
        (line,) = loop.told_of
        assert "clipped as before, but not recorded" in line

    def test_closing_leaves_nothing_on_the_objects(self):
        model = ThreeAndFour()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = [copy.copy(vars(thing)) for thing in (optimizer, model, model.first)]
        monitor = Monitor(model, optimizer, sink=Collector(), max_norm=1.0)
        monitor.close()
        monitor.close()
        assert [vars(thing) for thing in (optimizer, model, model.first)] == before
        assert monitor_of(optimizer) is None
        model.set_gradients()
        optimizer.step()
        assert model.gradients() == [3.0, 4.0]

    def test_model_and_optimizer_are_freed_with_the_monitor(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        freed = [weakref.ref(loop.model), weakref.ref(loop.optimizer), weakref.ref(loop.monitor)]
        del loop
        gc.collect()
        assert [reference() for reference in freed] == [None, None, None]


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
    def test_watched_model_and_optimizer_can_be_copied_together(self, copied):
        loop = Loop(max_norm=1.0)
        model, optimizer = copied((loop.model, loop.optimizer))
        model.set_gradients()
        optimizer.step()
        assert model.gradients() == [3.0, 4.0]
        assert loop.frames == []

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_a_model_that_holds_its_monitor_can_be_copied_and_the_copy_says_that_it_is_not_watched(self, copied):
        loop = Loop(max_norm=1.0)
        loop.model.monitor = loop.monitor
        model = copied(loop.model)
        assert model.monitor.name == "main"
        assert copied(model).monitor.name == "main"
        assert "watches nothing" in repr(model.monitor)
        with pytest.raises(AttributeError, match=r"call run\.watch for it"):
            model.monitor.clip_()

    def test_state_dicts_hold_nothing_of_ours(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        plain = torch.optim.SGD(ThreeAndFour().parameters(), lr=0.1)
        assert loop.optimizer.state_dict().keys() == plain.state_dict().keys()
        assert list(loop.model.state_dict()) == ["first.weight", "second.weight"]


class TestWatchingTwice:
    """The newer monitor takes the optimizer over: two of them would clip twice."""

    def test_the_monitor_of_an_optimizer_can_be_found(self):
        loop = Loop()
        assert monitor_of(loop.optimizer) is loop.monitor

    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_leaves_one_hook_and_one_line(self, make):
        loop, told, sink = Loop(make, name="first", max_norm=1.0), [], Collector()
        newer = Monitor(loop.model, loop.optimizer, sink=sink, max_norm=2.5, tell=told.append)
        loop.step()
        assert len(loop.optimizer._optimizer_step_pre_hooks) == len(loop.optimizer._optimizer_step_post_hooks) == 1
        assert loop.model.gradients() == pytest.approx([1.5, 2.0])
        assert (len(loop.frames), len(sink.frames)) == (0, 1)
        assert monitor_of(loop.optimizer) is newer
        assert told == ["this optimizer was watched by another run, which gets no more of its steps (first)"]

    def test_of_one_that_has_finished_nothing_is_said(self):
        loop, told = Loop(max_norm=1.0), []
        loop.monitor.stop_recording()
        Monitor(loop.model, loop.optimizer, sink=Collector(), max_norm=2.5, tell=told.append)
        loop.step()
        assert loop.model.gradients() == pytest.approx([1.5, 2.0])
        assert told == []

    def test_a_monitor_that_is_called_in_the_open_is_taken_over_too(self):
        loop = Loop(max_norm=1.0, hook=False)
        Monitor(loop.model, loop.optimizer, sink=Collector(), max_norm=2.5)
        assert not loop.monitor.recording

    def test_the_scaler_is_watched_by_the_newer_one_alone(self):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        loop, sink = Loop(max_norm=1.0, scaler=scaler), Collector()
        Monitor(loop.model, loop.optimizer, sink=sink, max_norm=1.0, scaler=scaler)
        scaler.scale(math.inf * loop.model.first.weight.sum()).backward()
        scaler.step(loop.optimizer)
        assert (len(loop.frames), len(sink.frames)) == (0, 1)


class TestRandomState:
    @pytest.mark.parametrize("options", [{}, {"max_norm": 1.0}, {"clip_value": 0.1, "on_non_finite": "skip"}])
    def test_is_untouched(self, options):
        def states():
            return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

        model = ThreeAndFour()
        before = states()
        loop = Loop(model=model, **options)
        for first in (3.0, math.nan, 3.0):
            loop.step(first)
        assert states() == before
