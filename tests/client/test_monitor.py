"""A monitor clips as torch does, measures what it clipped, and never gets in the way of the training."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from gradvitals.already_clipped import WINDOW
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.frames import (
    FLAG_ALREADY_CLIPPED,
    FLAG_NON_FINITE,
    FLAG_SKIPPED_STEP,
    FLOAT32_MAX,
    PARAM_NORMS_EVERY,
    Frame,
)
from gradvitals.monitor import Monitor, monitor_of


class Collector:
    """A sink that keeps every frame."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def submit(self, monitor: Monitor, frame: Frame) -> None:
        self.frames.append(frame)


class BrokenSink:
    """A sink that breaks its promise."""

    def submit(self, monitor: Monitor, frame: Frame) -> None:
        raise OSError("no space left")


class ThreeAndFour(nn.Module):
    """Two weights whose gradients can be set to 3 and 4: a global norm of 5."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.second = nn.Linear(1, 1, bias=False)

    def set_gradients(self, first: float = 3.0, second: float | None = 4.0) -> None:
        self.first.weight.grad = torch.full((1, 1), first)
        self.second.weight.grad = None if second is None else torch.full((1, 1), second)

    def gradients(self) -> list[float]:
        return [self.first.weight.grad.item(), self.second.weight.grad.item()]


class Loop:
    """A model, its optimizer and its monitor; ``step`` makes one training step with the given gradients."""

    def __init__(self, optimizer=None, sink=None, **options) -> None:
        self.model = ThreeAndFour()
        self.optimizer = (
            optimizer(self.model.parameters()) if optimizer else torch.optim.SGD(self.model.parameters(), 0.1)
        )
        self.told: list[str] = []
        self.sink = sink or Collector()
        self.monitor = Monitor(self.model, self.optimizer, sink=self.sink, tell=self.told.append, **options)

    def step(self, first: float = 3.0, second: float | None = 4.0) -> None:
        self.model.set_gradients(first, second)
        self.optimizer.step()

    @property
    def frames(self) -> list[Frame]:
        return self.sink.frames

    @property
    def frame(self) -> Frame:
        return self.frames[-1]


class TestFrame:
    def test_holds_the_norms_before_clipping_and_what_the_clip_did(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        assert loop.frame.global_norm == 5.0
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]
        assert loop.frame.layer_norms.dtype == np.float32
        assert loop.frame.clip_coefficient == pytest.approx(0.2)
        assert loop.frame.max_norm == 1.0
        assert loop.frame.lr == 0.1
        assert loop.frame.flags == 0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    def test_names_its_layers_in_the_layout(self):
        loop = Loop()
        loop.step()
        assert [layer.module for layer in loop.frame.layout.layers] == ["first", "second"]
        assert loop.frame.layout is loop.monitor.layout

    def test_steps_are_counted_from_where_a_resume_begins(self):
        loop = Loop(step=100)
        loop.step()
        loop.step()
        assert [frame.step for frame in loop.frames] == [100, 101]
        assert loop.monitor.step == 102

    def test_a_layer_without_gradient_has_the_norm_zero(self):
        loop = Loop()
        loop.step(3.0, None)
        assert loop.frame.layer_norms.tolist() == [3.0, 0.0]

    def test_observing_only_changes_nothing(self):
        loop = Loop()
        loop.step()
        assert loop.model.gradients() == [3.0, 4.0]
        assert (loop.frame.clip_coefficient, loop.frame.max_norm) == (1.0, math.inf)
        assert loop.monitor.max_norm is None

    def test_clipping_by_value_says_how_much_of_the_norm_is_left(self):
        loop = Loop(clip_value=3.0)
        loop.step()
        assert loop.model.gradients() == [3.0, 3.0]
        assert loop.frame.clip_coefficient == pytest.approx(math.sqrt(18) / 5)
        assert loop.frame.max_norm == math.inf

    @pytest.mark.parametrize(("norm_type", "expected"), [(1, 7.0), (math.inf, 4.0), ("inf", 4.0)])
    def test_the_norm_is_of_the_type_that_was_asked_for(self, norm_type, expected):
        loop = Loop(max_norm=1.0, norm_type=norm_type)
        loop.step()
        assert loop.frame.global_norm == expected
        assert loop.model.gradients() == pytest.approx([3 / expected, 4 / expected])

    def test_norms_of_the_weights_come_with_every_64th_frame(self):
        loop = Loop(step=5)
        with torch.no_grad():
            loop.model.first.weight.fill_(-2.0)
            loop.model.second.weight.fill_(3.0)
        for _ in range(2 * PARAM_NORMS_EVERY + 1):
            loop.step(0.0, 0.0)
        assert loop.frame.param_norms.tolist() == [2.0, 3.0]
        with_weights = [index for index, frame in enumerate(loop.frames) if frame.param_norms is not None]
        assert with_weights == [0, PARAM_NORMS_EVERY, 2 * PARAM_NORMS_EVERY]

    def test_a_finite_norm_beyond_single_precision_is_told_as_its_maximum(self):
        loop = Loop(max_norm=1.0)
        loop.model.double()
        loop.model.first.weight.grad = torch.full((1, 1), 1e200, dtype=torch.float64)
        loop.optimizer.step()
        assert loop.frame.layer_norms[0] == np.float32(FLOAT32_MAX)
        assert loop.frame.flags == 0

    @pytest.mark.parametrize("lr", [0.5, torch.tensor(0.5)])
    def test_reads_the_learning_rate_without_touching_it(self, lr):
        loop = Loop(lambda parameters: torch.optim.Adam(parameters, lr=lr, capturable=False, foreach=False))
        loop.step()
        assert loop.frame.lr == 0.5
        assert loop.optimizer.param_groups[0]["lr"] is lr

    def test_without_a_learning_rate_the_frame_has_none(self):
        loop = Loop(hook=False)
        del loop.optimizer.param_groups[0]["lr"]
        loop.model.set_gradients()
        loop.monitor.clip_()
        assert math.isnan(loop.frame.lr)

    def test_include_and_exclude_choose_what_is_measured_but_not_what_is_clipped(self):
        loop = Loop(max_norm=1.0, exclude="first.*")
        loop.step()
        assert [layer.name for layer in loop.frame.layout.layers] == ["second.weight"]
        assert loop.frame.layer_norms.tolist() == [4.0]
        assert loop.frame.param_norms.shape == (1,)
        assert loop.frame.global_norm == 5.0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    def test_last_is_the_newest_frame_as_a_dict(self):
        loop = Loop(max_norm=1.0)
        assert loop.monitor.last is None
        loop.step()
        assert loop.monitor.last["layer_norms"] == {"first.weight": 3.0, "second.weight": 4.0}
        assert loop.monitor.last["global_norm"] == 5.0

    def test_overhead_is_a_share(self):
        loop = Loop()
        loop.step()
        assert loop.monitor.overhead == 0.0
        loop.step()
        assert 0.0 < loop.monitor.overhead <= 1.0


class TestNonFinite:
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_gradients_become_what_torch_makes_of_them(self, bad):
        loop, torchs = Loop(max_norm=1.0), ThreeAndFour()
        loop.step(bad, 4.0)
        torchs.set_gradients(bad, 4.0)
        nn.utils.clip_grad_norm_(torchs.parameters(), 1.0)
        assert loop.model.gradients() == pytest.approx(torchs.gradients(), nan_ok=True)

    def test_the_frame_names_the_guilty_layer_as_it_was_before_clipping(self):
        loop = Loop(max_norm=1.0)
        loop.step(3.0, math.nan)
        assert loop.frame.flags == FLAG_NON_FINITE
        assert math.isnan(loop.frame.clip_coefficient)
        assert loop.frame.layer_norms[0] == 3.0
        assert loop.frame.non_finite == [(1, 1, 0)]

    def test_elements_are_counted_on_the_step_where_it_begins(self):
        loop = Loop()
        loop.step()
        for first in (math.inf, math.nan, 3.0, math.inf):
            loop.step(first, 4.0)
        assert [frame.non_finite for frame in loop.frames] == [None, [(0, 0, 1)], None, None, [(0, 0, 1)]]

    def test_the_policy_raise_ends_the_step_before_anything_is_changed(self):
        loop = Loop(max_norm=1.0, on_non_finite="raise")
        before = loop.model.second.weight.item()
        with pytest.raises(NonFiniteGradientError, match=r"step 0 is nan: not finite in first\.weight"):
            loop.step(math.nan, 4.0)
        assert loop.model.gradients()[1] == 4.0
        assert loop.model.second.weight.item() == before
        assert loop.frame.flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP
        loop.step()
        assert loop.frame.step == 1


class TestLossScale:
    """A GradScaler leaves the division to a fused optimizer: the hook sees scaled gradients."""

    def fused(self, **options) -> Loop:
        return Loop(lambda parameters: torch.optim.SGD(parameters, lr=1.0, fused=True), **options)

    def test_norms_are_those_of_the_gradients_without_the_scale(self):
        loop = self.fused(max_norm=1.0)
        loop.optimizer.grad_scale = torch.tensor(2.0)
        loop.step(6.0, 8.0)
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]
        assert loop.frame.global_norm == 5.0
        assert loop.frame.clip_coefficient == pytest.approx(0.2)
        assert loop.frame.loss_scale == 2.0

    def test_a_step_under_a_scaler_equals_one_without(self):
        moved = []
        for scaler in (torch.amp.GradScaler("cpu", init_scale=1024.0), torch.amp.GradScaler("cpu", enabled=False)):
            torch.manual_seed(0)
            loop = self.fused(max_norm=1.0)
            loss = 3 * loop.model.first.weight.sum() + 4 * loop.model.second.weight.sum()
            scaler.scale(loss).backward()
            scaler.step(loop.optimizer)
            scaler.update()
            assert loop.frame.global_norm == pytest.approx(5.0)
            moved.append([weight.item() for weight in loop.model.parameters()])
        assert moved[0] == pytest.approx(moved[1], rel=1e-6)

    def test_a_step_that_the_scaler_skips_is_flagged(self):
        loop = self.fused(max_norm=1.0, on_non_finite="raise")
        before = [weight.item() for weight in loop.model.parameters()]
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale(math.inf * loop.model.first.weight.sum()).backward()
        scaler.step(loop.optimizer)
        scaler.update()
        assert loop.frame.flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP
        assert [weight.item() for weight in loop.model.parameters()] == before


class TestClosures:
    def test_gradients_are_clipped_and_measured_inside_the_closure(self):
        loop = Loop(max_norm=1.0)
        calls = []

        def closure():
            calls.append(len(loop.frames))
            loop.model.set_gradients()
            return torch.tensor(7.0)

        assert loop.optimizer.step(closure).item() == 7.0
        assert calls == [0]
        assert loop.frame.global_norm == 5.0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    def test_lbfgs_is_observed_at_its_first_evaluation_and_not_clipped(self):
        plain, watched = self.train_lbfgs(None), self.train_lbfgs(0.001)
        assert watched[0] == plain[0]
        loop = watched[1]
        assert len(loop.frames) == 3
        assert all(frame.clip_coefficient == 1.0 and frame.max_norm == math.inf for frame in loop.frames)
        assert any("LBFGS" in line and "nothing is clipped" in line for line in loop.told)
        with pytest.raises(ConfigurationError, match="LBFGS is only observed"):
            loop.monitor.max_norm = 1.0

    def train_lbfgs(self, max_norm: float | None) -> tuple[list[float], Loop]:
        torch.manual_seed(0)
        loop = Loop(lambda parameters: torch.optim.LBFGS(parameters, max_iter=4), max_norm=max_norm)
        if max_norm is None:
            loop.monitor.close()

        def closure():
            loop.optimizer.zero_grad()
            loss = (loop.model.first.weight - 1).pow(4).sum() + (loop.model.second.weight - 2).pow(2).sum()
            loss.backward()
            return loss

        for _ in range(3):
            loop.optimizer.step(closure)
        return [weight.item() for weight in loop.model.parameters()], loop

    def test_every_evaluation_is_clipped_but_a_step_is_one_frame(self):
        seen = []

        class Twice(torch.optim.SGD):
            def step(self, closure):
                for _ in range(2):
                    closure()
                    seen.append(loop.model.gradients()[0])

        loop = Loop(lambda parameters: Twice(parameters, lr=0.1), max_norm=1.0)
        loop.optimizer.step(loop.model.set_gradients)
        assert seen == pytest.approx([0.6, 0.6])
        assert len(loop.frames) == 1


class TestSameTraining:
    """The path of a run with us is that of a run without us."""

    def train(self, clip, **options) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if options:
            Monitor(model, optimizer, sink=Collector(), **options)
        trace = []
        for _ in range(40):
            inputs = torch.randn(4, 8)
            loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            clip(model.parameters())
            optimizer.step()
            trace.append(loss.detach())
        return [*trace, *(parameter.detach() for parameter in model.parameters()), torch.get_rng_state()]

    def test_bit_for_bit_where_nothing_is_clipped(self):
        plain = self.train(lambda parameters: None)
        for options in ({"max_norm": 1e6}, {"clip_value": 1e6}, {"on_non_finite": "keep"}):
            assert all(map(torch.equal, plain, self.train(lambda parameters: None, **options)))

    def test_bit_for_bit_torchs_where_elements_are_clipped(self):
        torchs = self.train(lambda parameters: nn.utils.clip_grad_value_(parameters, 0.05))
        assert all(map(torch.equal, torchs, self.train(lambda parameters: None, clip_value=0.05)))

    def test_torchs_to_the_rounding_of_the_norm_where_the_norm_is_clipped(self):
        # Not bit for bit: our norm is rounded from double precision, torch's was added up in single precision.
        torchs = self.train(lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.1))
        ours = self.train(lambda parameters: None, max_norm=0.1)
        for theirs, mine in zip(torchs[:-1], ours[:-1], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
        assert torch.equal(torchs[-1], ours[-1])
        assert not torch.equal(self.train(lambda parameters: None)[39], ours[39])


class TestMaxNormWhileRunning:
    def test_a_new_limit_holds_from_the_next_step(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.monitor.max_norm = 2.5
        loop.step()
        assert [frame.max_norm for frame in loop.frames] == [1.0, 2.5]
        assert loop.model.gradients() == pytest.approx([1.5, 2.0])

    def test_none_turns_clipping_off(self):
        loop = Loop(max_norm=1.0)
        loop.monitor.max_norm = None
        loop.step()
        assert loop.model.gradients() == [3.0, 4.0]

    def test_a_wrong_limit_is_refused_and_the_old_one_stays(self):
        loop = Loop(max_norm=1.0)
        with pytest.raises(ConfigurationError, match="max_norm must be a number above 0"):
            loop.monitor.max_norm = -1.0
        assert loop.monitor.max_norm == 1.0


class TestChangingParameters:
    def test_an_added_group_is_clipped_and_measured_under_a_new_layout(self):
        loop = Loop(lambda parameters: torch.optim.SGD([next(parameters)], lr=0.1), max_norm=1.0)
        loop.step()
        loop.optimizer.add_param_group({"params": [loop.model.second.weight]})
        loop.step()
        first, second = loop.frames
        assert (first.layer_norms.tolist(), second.layer_norms.tolist()) == ([3.0], [3.0, 4.0])
        assert second.layout.layout_id != first.layout.layout_id
        assert second.layout.layers[1].parameter_group == 1
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    def test_freezing_a_layer_makes_a_new_layout(self):
        loop = Loop()
        loop.step()
        loop.model.first.weight.requires_grad_(False)
        loop.step()
        assert [layer.trainable for layer in loop.frame.layout.layers] == [False, True]


class TestAlreadyClipped:
    def test_is_flagged_and_told_once_with_the_line_to_remove(self):
        loop = Loop()
        for step in range(2 * WINDOW):
            loop.model.set_gradients(3.0 + step, 4.0)
            nn.utils.clip_grad_norm_(loop.model.parameters(), 0.5)
            loop.optimizer.step()
        assert loop.frames[0].flags == 0
        assert loop.frame.flags == FLAG_ALREADY_CLIPPED
        (line,) = loop.told
        assert "remove your clip_grad_norm_(..., 0.5)" in line

    def test_our_own_clip_is_not_taken_for_somebody_elses(self):
        loop = Loop(max_norm=0.5)
        for step in range(2 * WINDOW):
            loop.step(3.0 + step, 4.0)
        assert loop.told == []
        assert loop.frame.flags == 0


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
        (line,) = loop.told
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
        loop.optimizer.step()
        assert any("COULD NOT BE CLIPPED" in line for line in loop.told)

    def test_the_next_step_is_measured_again(self):
        loop = self.broken_model(max_norm=1.0)
        loop.step()
        del loop.model.named_parameters
        loop.step()
        assert loop.frame.step == 1
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]


class TestWithoutHook:
    def test_clip_measures_once_and_returns_the_norm_before(self):
        loop = Loop(max_norm=1.0, hook=False)
        loop.model.set_gradients()
        norm = loop.monitor.clip_()
        loop.optimizer.step()
        assert norm.item() == 5.0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert len(loop.frames) == 1

    def test_clip_is_refused_where_the_step_clips(self):
        with pytest.raises(ConfigurationError, match="hook=False"):
            Loop(max_norm=1.0).monitor.clip_()


class TestAfterTheRun:
    def test_steps_are_clipped_but_not_recorded_and_that_is_said_once(self):
        loop = Loop(max_norm=1.0)
        loop.monitor.stop_recording()
        for _ in range(2):
            loop.step()
            assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert loop.frames == []
        (line,) = loop.told
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

    def test_state_dicts_hold_nothing_of_ours(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        plain = torch.optim.SGD(ThreeAndFour().parameters(), lr=0.1)
        assert loop.optimizer.state_dict().keys() == plain.state_dict().keys()
        assert list(loop.model.state_dict()) == ["first.weight", "second.weight"]


class TestWatchingTwice:
    def test_the_monitor_of_an_optimizer_can_be_found(self):
        loop = Loop()
        assert monitor_of(loop.optimizer) is loop.monitor

    def test_a_second_monitor_is_refused(self):
        loop = Loop(name="first")
        with pytest.raises(ConfigurationError, match="watched already, by the monitor 'first'"):
            Monitor(loop.model, loop.optimizer, sink=loop.sink)

    def test_the_monitor_of_a_finished_run_makes_way(self):
        loop = Loop(max_norm=1.0)
        loop.monitor.stop_recording()
        sink = Collector()
        Monitor(loop.model, loop.optimizer, sink=sink, max_norm=2.5)
        loop.step()
        assert loop.model.gradients() == pytest.approx([1.5, 2.0])
        assert len(sink.frames) == 1


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_norm": 0}, "max_norm must be a number above 0"),
            ({"max_norm": math.nan}, "max_norm must be a number above 0"),
            ({"clip_value": -1}, "clip_value must be a number above 0"),
            ({"max_norm": 1.0, "clip_value": 1.0}, "choose one"),
            ({"norm_type": 0}, "norm_type must be a number above 0"),
            ({"norm_type": "euclidean"}, "norm_type must be a number above 0"),
            ({"on_non_finite": "skip"}, "on_non_finite must be 'keep' or 'raise'"),
            ({"group_by": "module"}, "group_by is not supported yet"),
            ({"scaler": torch.amp.GradScaler("cpu")}, "scaler is not supported yet"),
            ({"include": "decoder.*"}, "leave no layer"),
        ],
    )
    def test_a_mistake_is_refused_at_once_and_leaves_no_hook(self, options, message):
        model = ThreeAndFour()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ConfigurationError, match=message):
            Monitor(model, optimizer, sink=Collector(), **options)
        assert monitor_of(optimizer) is None
        assert not optimizer._optimizer_step_pre_hooks

    def test_a_scaler_that_is_switched_off_is_welcome(self):
        Loop(scaler=torch.amp.GradScaler("cpu", enabled=False))

    @pytest.mark.parametrize("options", [{"max_norm": math.inf}, {"clip_value": math.inf}])
    def test_an_infinite_limit_observes_only(self, options):
        loop = Loop(**options)
        loop.step(math.inf, 4.0)
        assert loop.model.gradients() == [math.inf, 4.0]
