"""A monitor clips as torch does, and makes a frame of each step from the norms before clipping."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from client.looping import Collector, Loop, ThreeAndFour, layer_names
from torch import nn

from gradvitals.already_clipped import WINDOW
from gradvitals.clipping import ClipByGlobalNorm, ClipByLayerNorm
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.frames import FLAG_ALREADY_CLIPPED, FLOAT32_MAX, PARAM_NORMS_EVERY
from gradvitals.monitor import Monitor, monitor_of


class TestFrame:
    def test_holds_the_norms_before_clipping_and_what_the_clip_did(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        assert loop.frame.global_norm == 5.0
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]
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
        assert layer_names(loop.frame) == ["second.weight"]
        assert loop.frame.layer_norms.tolist() == [4.0]
        assert len(loop.frame.param_norms) == 1
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

    def test_where_it_is_much_the_cure_is_told_once(self):
        loop = Loop()
        for _ in range(3 * PARAM_NORMS_EVERY):  # steps that do nothing else
            loop.step()
        (line,) = (line for line in loop.told if line not in loop.told_of)
        assert "% of the time of main's steps" in line
        assert "group_by=" in line


class TestTheLoopsOwnWork:
    def test_gradients_that_were_accumulated_are_clipped_and_measured_once_as_their_sum(self):
        loop = Loop(max_norm=1.0)
        for part in (1.0, 2.0):  # gradients (1, 4/3) and (2, 8/3)
            (part * loop.model.first.weight + part * 4 / 3 * loop.model.second.weight).sum().backward()
        loop.optimizer.step()
        assert loop.frame.global_norm == pytest.approx(5.0)
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert len(loop.frames) == 1

    def test_several_parameter_groups_are_clipped_as_one_and_keep_their_learning_rates(self):
        model = ThreeAndFour()
        groups = [{"params": [model.second.weight], "lr": 0.5}, {"params": [model.first.weight], "lr": 0.25}]
        loop = Loop(lambda parameters: torch.optim.SGD(groups), model=model, max_norm=1.0)
        loop.step()
        assert model.gradients() == pytest.approx([0.6, 0.8])
        assert model.weights() == pytest.approx([1.0 - 0.25 * 0.6, 2.0 - 0.5 * 0.8])
        assert layer_names(loop.frame) == ["first.weight", "second.weight"]  # in the model's order
        assert [layer.parameter_group for layer in loop.frame.layout.layers] == [1, 0]
        assert loop.frame.lr == 0.5

    def test_two_optimizers_of_one_model_are_clipped_apart(self):
        model = ThreeAndFour()
        loops = [
            Loop(lambda _, layer=layer: torch.optim.SGD(layer.parameters(), 0.1), model=model, max_norm=1.0)
            for layer in (model.first, model.second)
        ]
        model.set_gradients()
        for loop in loops:
            loop.optimizer.step()
        assert [loop.frame.global_norm for loop in loops] == [3.0, 4.0]
        assert model.gradients() == pytest.approx([1.0, 1.0])

    def test_bfloat16_under_autocast_needs_nothing(self):
        loop = Loop(max_norm=1.0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            first, second = loop.model.first(torch.tensor([[3.0]])), loop.model.second(torch.tensor([[4.0]]))
        (first + second).sum().backward()
        loop.optimizer.step()
        assert (loop.frame.global_norm, loop.frame.loss_scale, loop.frame.flags) == (5.0, 1.0, 0)
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    def test_weights_of_half_precision_are_clipped_in_place(self):
        loop = Loop(model=ThreeAndFour().bfloat16(), max_norm=1.0)
        loop.step()
        assert loop.frame.global_norm == 5.0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8], rel=1e-2)
        assert loop.model.first.weight.grad.dtype == torch.bfloat16


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

    def test_a_limit_may_be_given_where_there_was_none(self):
        loop = Loop()
        loop.step()
        loop.monitor.max_norm = 1.0
        loop.step()
        assert [frame.clip_coefficient for frame in loop.frames] == pytest.approx([1.0, 0.2])

    def test_is_refused_beside_another_way_to_clip(self):
        for options in ({"clip_value": 3.5}, {"strategy": ClipByLayerNorm(1.0)}):
            loop = Loop(**options)
            with pytest.raises(ConfigurationError, match="choose one"):
                loop.monitor.max_norm = 1.0
            loop.step()
            assert loop.frame.clip_coefficient < 1.0

    def test_a_wrong_limit_is_refused_and_the_old_one_stays(self):
        loop = Loop(max_norm=1.0)
        with pytest.raises(ConfigurationError, match="max_norm must be a number above 0"):
            loop.monitor.max_norm = -1.0
        assert loop.monitor.max_norm == 1.0


class TestAlreadyClipped:
    def test_is_flagged_and_told_once_with_the_line_to_remove(self):
        loop = Loop()
        for step in range(2 * WINDOW):
            loop.model.set_gradients(3.0 + step, 4.0)
            nn.utils.clip_grad_norm_(loop.model.parameters(), 0.5)
            loop.optimizer.step()
        assert loop.frames[0].flags == 0
        assert loop.frame.flags == FLAG_ALREADY_CLIPPED
        (line,) = loop.told_of
        assert "remove your clip_grad_norm_(..., 0.5)" in line

    def test_our_own_clip_is_not_taken_for_somebody_elses(self):
        loop = Loop(max_norm=0.5)
        for step in range(2 * WINDOW):
            loop.step(3.0 + step, 4.0)
        assert loop.told_of == []
        assert loop.frame.flags == 0

    def test_a_clip_that_seldom_bites_is_not_one_that_was_there_before(self):
        loop = Loop()
        for step in range(2 * WINDOW):
            loop.model.set_gradients(0.1 + 0.01 * step, 0.0)
            nn.utils.clip_grad_norm_(loop.model.parameters(), 1.0)
            loop.optimizer.step()
        assert loop.told_of == []


class TestStrategies:
    def test_each_layer_may_have_a_limit_of_its_own(self):
        loop = Loop(strategy=ClipByLayerNorm(3.5))
        loop.step()
        assert loop.model.gradients() == pytest.approx([3.0, 3.5])
        assert loop.frame.clip_coefficient == pytest.approx(math.hypot(3, 3.5) / 5)
        assert (loop.frame.max_norm, loop.monitor.max_norm) == (math.inf, None)

    def test_a_function_may_do_as_it_likes(self):
        seen = []

        def drop_the_first(gradients, norms):
            seen.append((norms.global_norm, norms.layer_norms))
            gradients[0].zero_()

        loop = Loop(strategy=drop_the_first)
        loop.step()
        assert seen == [(5.0, [3.0, 4.0])]
        assert loop.model.gradients() == [0.0, 4.0]
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]
        assert loop.frame.clip_coefficient == pytest.approx(0.8)

    def test_one_of_the_users_own_needs_two_methods_and_a_limit(self):
        class Halve:
            max_norm = math.inf

            def clip_(self, gradients, norms, grad_scale=1.0):
                torch._foreach_mul_(gradients, 0.5)
                return 0.5

            def clip_like_torch_(self, parameters, grad_scale=1.0):
                raise AssertionError("only where clip_ has failed")

        loop = Loop(strategy=Halve())
        loop.step()
        assert loop.model.gradients() == [1.5, 2.0]
        assert loop.frame.clip_coefficient == 0.5

    def test_one_that_fails_is_told_and_ends_no_training(self):
        loop = Loop(strategy=lambda gradients, norms: 1 / 0)
        loop.step()
        assert loop.model.gradients() == [3.0, 4.0]
        assert any("COULD NOT BE CLIPPED: ZeroDivisionError" in line for line in loop.told)

    def test_the_type_of_its_norm_is_what_is_measured(self):
        loop = Loop(strategy=ClipByGlobalNorm(1.0, norm_type=math.inf))
        loop.step()
        assert loop.frame.global_norm == 4.0
        assert loop.model.gradients() == pytest.approx([0.75, 1.0])


class TestWithoutHook:
    def test_clip_measures_once_and_returns_the_norm_before(self):
        loop = Loop(max_norm=1.0, hook=False)
        loop.model.set_gradients()
        norm = loop.monitor.clip_()
        loop.optimizer.step()
        assert norm.item() == 5.0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert len(loop.frames) == 1

    def test_each_call_is_a_step(self):
        loop = Loop(hook=False)
        for _ in range(2):
            loop.model.set_gradients()
            loop.monitor.clip_()
            loop.optimizer.step()
        assert [frame.step for frame in loop.frames] == [0, 1]

    def test_what_is_not_finite_is_clipped_as_torch_does_or_raised_as_asked(self):
        loop = Loop(max_norm=1.0, hook=False)
        loop.model.set_gradients(math.inf, 4.0)
        assert loop.monitor.clip_().item() == math.inf
        assert loop.model.gradients() == pytest.approx([math.nan, 0.0], nan_ok=True)
        strict = Loop(max_norm=1.0, hook=False, on_non_finite="raise")
        strict.model.set_gradients(math.inf, 4.0)
        with pytest.raises(NonFiniteGradientError):
            strict.monitor.clip_()
        assert strict.model.gradients() == [math.inf, 4.0]

    def test_a_norm_beyond_single_precision_is_returned_as_it_is(self):
        loop = Loop(model=ThreeAndFour().double(), max_norm=1.0, hook=False)
        loop.model.set_gradients(3e200, 4e200)
        assert loop.monitor.clip_().item() == pytest.approx(5e200)

    def test_clip_is_refused_where_the_step_clips(self):
        with pytest.raises(ConfigurationError, match="hook=False"):
            Loop(max_norm=1.0).monitor.clip_()


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
            ({"strategy": ClipByLayerNorm(1.0), "max_norm": 1.0}, "choose one"),
            ({"strategy": ClipByLayerNorm}, "strategy must be a ClipStrategy or a function"),
            ({"strategy": ClipByLayerNorm(-1.0)}, "max_layer_norm must be a number above 0"),
            ({"on_non_finite": "ignore"}, "on_non_finite must be 'keep', 'skip' or 'raise'"),
            (
                {"on_non_finite": "skip", "hook": False},
                "on_non_finite='skip' needs the hook: with hook=False",
            ),
            ({"group_by": 7}, "group_by must be a glob"),
            ({"scaler": object()}, "scaler must be a torch.amp.GradScaler, not object"),
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

    @pytest.mark.parametrize("options", [{"on_non_finite": "ignore"}, {"scaler": object()}, {"include": "decoder.*"}])
    def test_a_mistake_leaves_the_monitor_that_was_there_before(self, options):
        loop = Loop(max_norm=1.0)
        with pytest.raises(ConfigurationError):
            Monitor(loop.model, loop.optimizer, sink=Collector(), max_norm=1.0, **options)
        loop.step()
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert len(loop.frames) == 1

    def test_a_scaler_that_is_switched_off_is_welcome(self):
        Loop(scaler=torch.amp.GradScaler("cpu", enabled=False))

    @pytest.mark.parametrize("options", [{"max_norm": math.inf}, {"clip_value": math.inf}])
    def test_an_infinite_limit_observes_only(self, options):
        loop = Loop(**options)
        loop.step(math.inf, 4.0)
        assert loop.model.gradients() == [math.inf, 4.0]
