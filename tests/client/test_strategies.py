"""A strategy clips gradients whose norms are known, and says how much of the global norm is left."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from client.building import assert_same_gradients, gradients_of, parameter_with_gradient
from client.looping import Loop
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradvitals.clipping import (
    ClipByFunction,
    ClipByGlobalNorm,
    ClipByLayerNorm,
    ClipByValue,
    ObserveOnly,
    choose_strategy,
    clip_grad_norm_,
)
from gradvitals.errors import ConfigurationError
from gradvitals.norms import gradient_norms

NON_FINITE = [[math.nan], [math.inf], [-math.inf], [math.inf, math.nan]]


def three_and_four() -> list[nn.Parameter]:
    return [parameter_with_gradient(3.0), parameter_with_gradient(4.0)]


class TestClipByGlobalNorm:
    """Gradients (3,) and (4,) have a global norm of 5."""

    def clip(self, max_norm: float, grad_scale: float = 1.0) -> tuple[list[nn.Parameter], float]:
        parameters = three_and_four()
        held = [parameter.grad for parameter in parameters]
        norms = gradient_norms(held).divided_by(grad_scale)
        return parameters, ClipByGlobalNorm(max_norm).clip_(held, norms, grad_scale)

    def test_scales_all_gradients_by_the_same_coefficient(self):
        (weight, bias), coefficient = self.clip(1.0)
        assert coefficient == pytest.approx(0.2)
        assert weight.grad.item() == pytest.approx(0.6)
        assert bias.grad.item() == pytest.approx(0.8)

    @pytest.mark.parametrize("max_norm", [5.1, 1e9])
    def test_changes_nothing_below_the_limit(self, max_norm):
        (weight, bias), coefficient = self.clip(max_norm)
        assert (weight.grad.item(), bias.grad.item(), coefficient) == (3.0, 4.0, 1.0)

    def test_a_loss_scale_stays_in_the_gradients_but_not_in_the_norm(self):
        # In units of the loss the gradients are 1.5 and 2, of norm 2.5; clipped to 0.5 they are 0.3 and 0.4.
        (weight, bias), coefficient = self.clip(0.5, grad_scale=2.0)
        assert coefficient == pytest.approx(0.2)
        assert (weight.grad.item(), bias.grad.item()) == pytest.approx((0.6, 0.8))

    def test_a_gradient_whose_squares_overflow_is_scaled_instead_of_lost(self):
        parameter = parameter_with_gradient(3e30, 4e30)
        clip_grad_norm_([parameter], 1.0)
        assert parameter.grad.tolist() == pytest.approx([0.6, 0.8])

    def test_the_way_out_is_torchs_own_clip(self):
        parameters = three_and_four()
        ClipByGlobalNorm(1.0).clip_like_torch_(parameters, grad_scale=2.0)
        assert parameters[0].grad.item() == pytest.approx(1.2)


class TestClipByValue:
    def clip(self, *elements: float, clip_value: float, grad_scale: float = 1.0) -> tuple[torch.Tensor, float]:
        gradient = torch.tensor(elements)
        norms = gradient_norms([gradient]).divided_by(grad_scale)
        return gradient, ClipByValue(clip_value).clip_([gradient], norms, grad_scale)

    def test_limits_each_element_and_says_how_much_of_the_norm_is_left(self):
        gradient, coefficient = self.clip(3.0, -4.0, clip_value=3.0)
        assert gradient.tolist() == [3.0, -3.0]
        assert coefficient == pytest.approx(math.sqrt(18) / 5)

    def test_changes_nothing_below_the_limit(self):
        gradient, coefficient = self.clip(3.0, -4.0, clip_value=4.0)
        assert (gradient.tolist(), coefficient) == ([3.0, -4.0], 1.0)

    def test_a_loss_scale_stays_in_the_gradients_but_not_in_the_limit(self):
        gradient, coefficient = self.clip(6.0, -8.0, clip_value=3.0, grad_scale=2.0)
        assert gradient.tolist() == [6.0, -6.0]
        assert coefficient == pytest.approx(math.sqrt(18) / 5)

    def test_an_infinite_element_is_limited_too(self):
        gradient, coefficient = self.clip(math.inf, 1.0, clip_value=2.0)
        assert (gradient.tolist(), coefficient) == ([2.0, 1.0], 0.0)

    def test_zero_gradients_are_not_clipped(self):
        assert self.clip(0.0, clip_value=1.0)[1] == 1.0

    @pytest.mark.parametrize("bad", [[5.0], *NON_FINITE])
    def test_leaves_the_gradients_that_torch_leaves(self, bad):
        ours, torchs = ([parameter_with_gradient(1.0, *bad), parameter_with_gradient(0.25)] for _ in range(2))
        held = [parameter.grad for parameter in ours]
        ClipByValue(0.5).clip_(held, gradient_norms(held))
        nn.utils.clip_grad_value_(torchs, 0.5)
        assert_same_gradients(ours, torchs)

    def test_the_duplicates_of_a_sparse_gradient_are_added_up_first(self):
        sparse = torch.sparse_coo_tensor([[1, 1, 2]], [1.0, 2.0, 0.5], (4,), check_invariants=True)
        ClipByValue(1.0).clip_([sparse], gradient_norms([sparse]))
        assert sparse.to_dense().tolist() == [0.0, 1.0, 0.5, 0.0]

    def test_the_way_out_is_torchs_own_clip(self):
        parameters = three_and_four()
        ClipByValue(1.0).clip_like_torch_(parameters, grad_scale=2.0)
        assert [parameter.grad.item() for parameter in parameters] == [2.0, 2.0]


class TestClipByLayerNorm:
    """A layer with the gradient (3, 4) has a norm of 5, another with (0.3, 0.4) one of 0.5."""

    def clip(self, max_layer_norm: float, grad_scale: float = 1.0, norm_type: float = 2.0):
        held = [torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])]
        norms = gradient_norms(held, norm_type).divided_by(grad_scale)
        coefficient = ClipByLayerNorm(max_layer_norm, norm_type).clip_(held, norms, grad_scale)
        return [gradient.tolist() for gradient in held], coefficient

    def test_scales_only_the_layers_that_are_above_the_limit(self):
        (above, below), coefficient = self.clip(1.0)
        assert above == pytest.approx([0.6, 0.8])
        assert below == [torch.tensor(0.3).item(), torch.tensor(0.4).item()]
        assert coefficient == pytest.approx(math.hypot(1.0, 0.5) / math.hypot(5.0, 0.5))

    def test_changes_nothing_below_the_limit(self):
        assert self.clip(5.1)[1] == 1.0

    def test_a_loss_scale_stays_in_the_gradients_but_not_in_the_limit(self):
        # In units of the loss the norms are 2.5 and 0.25; clipped to 1, the first is 2 with the scale.
        (above, _), coefficient = self.clip(1.0, grad_scale=2.0)
        assert above == pytest.approx([1.2, 1.6])
        assert coefficient == pytest.approx(math.hypot(1.0, 0.25) / math.hypot(2.5, 0.25))

    def test_the_norm_may_be_of_another_type(self):
        (above, below), _ = self.clip(0.35, norm_type=math.inf)
        assert above == pytest.approx([0.35 * 3 / 4, 0.35], rel=1e-5)
        assert below == pytest.approx([0.3 * 0.35 / 0.4, 0.35], rel=1e-5)

    @pytest.mark.parametrize("bad", [[5.0], *NON_FINITE])
    def test_clips_each_layer_as_torch_clips_it_alone_so_that_nan_stays_where_it_is(self, bad):
        ours, torchs = ([parameter_with_gradient(1.0, *bad), parameter_with_gradient(2.0, 2.0)] for _ in range(2))
        held = [parameter.grad for parameter in ours]
        ClipByLayerNorm(0.5).clip_(held, gradient_norms(held))
        for parameter in torchs:
            nn.utils.clip_grad_norm_(parameter, 0.5)
        for mine, theirs in zip(gradients_of(ours), gradients_of(torchs), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=0, equal_nan=True)

    def test_the_way_out_is_torchs_own_clip_of_each_layer(self):
        parameters = [parameter_with_gradient(3.0, 4.0), parameter_with_gradient(0.5)]
        ClipByLayerNorm(1.0).clip_like_torch_(parameters, grad_scale=2.0)
        assert parameters[0].grad.tolist() == pytest.approx([1.2, 1.6])
        assert parameters[1].grad.item() == 0.5


class TestClipByFunction:
    def test_calls_it_with_gradients_and_norms_and_measures_what_it_has_done(self):
        held = [torch.tensor([3.0]), torch.tensor([4.0])]
        seen = []

        def halve_the_second(gradients, norms):
            seen.append((norms.layer_norms, norms.global_norm))
            gradients[1].mul_(0.5)

        coefficient = ClipByFunction(halve_the_second).clip_(held, gradient_norms(held))
        assert seen == [([3.0, 4.0], 5.0)]
        assert [gradient.item() for gradient in held] == [3.0, 2.0]
        assert coefficient == pytest.approx(math.hypot(3, 2) / 5)

    def test_a_function_that_makes_gradients_larger_has_clipped_nothing(self):
        held = [torch.tensor([3.0])]
        assert ClipByFunction(lambda gradients, norms: gradients[0].mul_(2)).clip_(held, gradient_norms(held)) == 1.0

    @pytest.mark.parametrize("way", ["clip_", "clip_like_torch_"])
    def test_sees_gradients_without_their_loss_scale_which_comes_back_after_it(self, way):
        # In units of the loss (3, 4); with the scale of 2 clamped to 6.
        parameters, seen = [parameter_with_gradient(6.0, 8.0)], []

        def clamp(gradients, norms):
            seen.append((gradients[0].tolist(), norms.global_norm))
            gradients[0].clamp_(max=3.0)

        if way == "clip_":
            held = gradients_of(parameters, copies=False)
            ClipByFunction(clamp).clip_(held, gradient_norms(held).divided_by(2.0), torch.tensor(2.0))
        else:
            ClipByFunction(clamp).clip_like_torch_(parameters, torch.tensor(2.0))
        assert seen == [([3.0, 4.0], 5.0)]
        assert parameters[0].grad.tolist() == [6.0, 6.0]

    def test_one_that_fails_leaves_the_loss_scale_where_it_was(self):
        held = [torch.tensor([6.0, 8.0])]
        with pytest.raises(ZeroDivisionError):
            ClipByFunction(lambda gradients, norms: 1 / 0).clip_(held, gradient_norms(held).divided_by(2.0), 2.0)
        assert held[0].tolist() == [6.0, 8.0]


class TestObserveOnly:
    @pytest.mark.parametrize("bad", NON_FINITE)
    def test_leaves_everything_as_it_is(self, bad):
        gradient = torch.tensor([1.0, *bad])
        before = gradient.clone()
        assert ObserveOnly().clip_([gradient], gradient_norms([gradient])) == 1.0
        torch.testing.assert_close(gradient, before, rtol=0, atol=0, equal_nan=True)


elements = st.floats(-(2.0**80), 2.0**80, width=32)
limits = st.floats(1e-3, 1e6)


class TestProperties:
    """For any finite gradients, in double precision."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(elements, min_size=1, max_size=6), limits, st.sampled_from([1.0, 2.0, math.inf]))
    def test_no_norm_exceeds_its_limit_and_the_coefficient_is_what_is_left(self, values, max_norm, norm_type):
        gradient = torch.tensor(values)
        before = torch.linalg.vector_norm(gradient.double(), norm_type).item()
        coefficient = ClipByGlobalNorm(max_norm, norm_type).clip_([gradient], gradient_norms([gradient], norm_type))
        after = torch.linalg.vector_norm(gradient.double(), norm_type).item()
        assert after <= max_norm * (1 + 1e-6)
        assert 0 <= coefficient <= 1
        assert after == pytest.approx(coefficient * before, rel=1e-6, abs=1e-30)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(elements, min_size=1, max_size=6), limits)
    def test_no_element_exceeds_its_limit_and_the_coefficient_is_what_is_left(self, values, clip_value):
        gradient = torch.tensor(values)
        before = torch.linalg.vector_norm(gradient.double()).item()
        coefficient = ClipByValue(clip_value).clip_([gradient], gradient_norms([gradient]))
        after = torch.linalg.vector_norm(gradient.double()).item()
        assert gradient.abs().max().item() <= clip_value * (1 + 1e-6)
        assert 0 <= coefficient <= 1
        assert after == pytest.approx(coefficient * before, rel=1e-5, abs=1e-30)


class TestChooseStrategy:
    def test_the_arguments_name_the_strategy(self):
        assert choose_strategy(1, None, 1) == ClipByGlobalNorm(1.0, 1.0)
        assert choose_strategy(None, 0.5) == ClipByValue(0.5)
        assert choose_strategy(None, None) == ObserveOnly()

    def test_an_infinite_limit_observes_only(self):
        assert choose_strategy(math.inf, None) == ObserveOnly()

    @pytest.mark.parametrize("value", [0, -1.0, math.nan, "much"])
    @pytest.mark.parametrize("name", ["max_norm", "clip_value"])
    def test_a_limit_that_is_none_is_refused_by_its_name(self, name, value):
        with pytest.raises(ConfigurationError, match=f"{name} must be a number above 0"):
            choose_strategy(**({"max_norm": None, "clip_value": None} | {name: value}))

    def test_two_limits_are_refused(self):
        with pytest.raises(ConfigurationError, match="choose one"):
            choose_strategy(1.0, 1.0)

    def test_a_strategy_is_taken_as_it_is_and_a_function_made_one(self):
        strategy = ClipByLayerNorm(1.0)
        assert choose_strategy(None, None, strategy=strategy) is strategy
        assert choose_strategy(None, None, strategy=math.hypot) == ClipByFunction(math.hypot)

    @pytest.mark.parametrize("wrong", ["norm", 1.0, ClipByLayerNorm])
    def test_what_is_neither_is_refused(self, wrong):
        with pytest.raises(ConfigurationError, match="strategy must be a ClipStrategy or a function"):
            choose_strategy(None, None, strategy=wrong)

    @pytest.mark.parametrize("wrong", [ClipByGlobalNorm(-1.0), ClipByValue(math.nan), ClipByLayerNorm(0.0)])
    def test_a_strategy_with_a_limit_that_is_none_is_refused_too(self, wrong):
        with pytest.raises(ConfigurationError, match="must be a number above 0"):
            choose_strategy(None, None, strategy=wrong)

    def test_a_strategy_beside_a_limit_is_refused(self):
        with pytest.raises(ConfigurationError, match="choose one"):
            choose_strategy(1.0, None, strategy=ClipByLayerNorm(1.0))


class TestASubclassOfOurs:
    """What a strategy does is asked of the strategy, also where it is a kind of one that has a short way of its own."""

    def test_clips_in_its_own_way_and_is_told_of_every_step(self):
        class ToZero(ClipByGlobalNorm):
            def clip_(self, gradients, norms, grad_scale=1.0):
                for gradient in gradients:
                    gradient.zero_()
                return 0.0

        loop = Loop(strategy=ToZero(100.0))
        loop.step()
        assert loop.model.gradients() == [0.0, 0.0]
        assert loop.frame.clip_coefficient == 0.0


def test_each_layer_is_clipped_by_torchs_factor_bit_for_bit():
    noise = torch.Generator().manual_seed(0)
    parameters = [parameter_with_gradient(*torch.randn(50, generator=noise).tolist()) for _ in range(200)]
    torchs = copy.deepcopy(parameters)
    for mine, its in zip(parameters, torchs, strict=True):
        its.grad = mine.grad.clone()
        nn.utils.clip_grad_norm_(its, 0.7)
    gradients = gradients_of(parameters, copies=False)
    ClipByLayerNorm(0.7).clip_(gradients, gradient_norms(gradients))
    assert_same_gradients(parameters, torchs)
