"""Clipping is torch's, with a better norm: the reference is torch in single precision, or its formula in double."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradvitals.clipping import ClipByGlobalNorm, ClipByValue, ObserveOnly, choose_strategy, clip_grad_norm_
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.norms import gradient_norms

NORM_TYPES = [0.5, 1.0, 2.0, 3.0, math.inf]
NON_FINITE = [[math.nan], [math.inf], [-math.inf], [math.inf, math.nan]]


def parameter_with_gradient(*elements: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(len(elements)))
    parameter.grad = torch.tensor(elements)
    return parameter


def three_and_four() -> list[nn.Parameter]:
    return [parameter_with_gradient(3.0), parameter_with_gradient(4.0)]


def random_parameters(*sizes: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return parameters


def gradients(parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]


def assert_same(ours: list[nn.Parameter], torchs: list[nn.Parameter]) -> None:
    for mine, theirs in zip(gradients(ours), gradients(torchs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


class TestClipByGlobalNorm:
    """Gradients (3,) and (4,) have a global norm of 5."""

    def clip(self, max_norm: float, grad_scale: float = 1.0) -> tuple[list[nn.Parameter], float]:
        parameters = three_and_four()
        held = [parameter.grad for parameter in parameters]
        norms = gradient_norms(held).divided_by(grad_scale)
        clip = ClipByGlobalNorm(max_norm).clip_(held, norms, grad_scale)
        return parameters, clip.clip_coefficient.item()

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
        return gradient, ClipByValue(clip_value).clip_([gradient], norms, grad_scale).clip_coefficient.item()

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
        assert_same(ours, torchs)

    def test_the_duplicates_of_a_sparse_gradient_are_added_up_first(self):
        sparse = torch.sparse_coo_tensor([[1, 1, 2]], [1.0, 2.0, 0.5], (4,), check_invariants=True)
        ClipByValue(1.0).clip_([sparse], gradient_norms([sparse]))
        assert sparse.to_dense().tolist() == [0.0, 1.0, 0.5, 0.0]

    def test_the_way_out_is_torchs_own_clip(self):
        parameters = three_and_four()
        ClipByValue(1.0).clip_like_torch_(parameters, grad_scale=2.0)
        assert [parameter.grad.item() for parameter in parameters] == [2.0, 2.0]


class TestObserveOnly:
    @pytest.mark.parametrize("bad", NON_FINITE)
    def test_leaves_everything_as_it_is(self, bad):
        gradient = torch.tensor([1.0, *bad])
        before = gradient.clone()
        clip = ObserveOnly().clip_([gradient], gradient_norms([gradient]))
        torch.testing.assert_close(gradient, before, rtol=0, atol=0, equal_nan=True)
        assert clip.clip_coefficient.item() == 1.0


class TestLikeTorch:
    def test_the_signature_is_torchs(self):
        ours, torchs = inspect.signature(clip_grad_norm_), inspect.signature(nn.utils.clip_grad_norm_)
        assert [(p.name, p.default, p.kind) for p in ours.parameters.values()] == [
            (p.name, p.default, p.kind) for p in torchs.parameters.values()
        ]

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("max_norm", [0.0, 1e-3, 1.0, 1e9])
    @pytest.mark.parametrize("foreach", [None, True, False])
    def test_norm_and_gradients_are_torchs_where_its_norm_is_right(self, norm_type, max_norm, foreach):
        ours, torchs = random_parameters(5, 300, 700), random_parameters(5, 300, 700)
        norm = clip_grad_norm_(ours, max_norm, norm_type, foreach=foreach)
        torchs_norm = nn.utils.clip_grad_norm_(torchs, max_norm, norm_type, foreach=foreach)
        close = {"rtol": 1e-6 if norm_type >= 1 else 1e-5, "atol": 0}  # torch's own error grows with 1 / norm_type
        torch.testing.assert_close(norm, torchs_norm, **close)
        for mine, theirs in zip(gradients(ours), gradients(torchs), strict=True):
            torch.testing.assert_close(mine, theirs, **close)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("bad", NON_FINITE)
    def test_what_is_not_finite_is_kept_as_torch_keeps_it(self, norm_type, bad):
        ours, torchs = ([parameter_with_gradient(1.0, *bad), parameter_with_gradient(2.0)] for _ in range(2))
        norm = clip_grad_norm_(ours, 1.0, norm_type)
        torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(torchs, 1.0, norm_type), equal_nan=True)
        assert_same(ours, torchs)

    def test_clipped_gradients_are_bit_for_bit_torchs_formula_with_our_norm(self):
        ours, torchs = random_parameters(5, 3_000), random_parameters(5, 3_000)
        norm = clip_grad_norm_(ours, 0.5)
        nn.utils.clip_grads_with_norm_(torchs, 0.5, norm)
        assert_same(ours, torchs)

    def test_unclipped_gradients_are_bit_for_bit_torchs(self):
        ours, torchs = random_parameters(5, 3_000), random_parameters(5, 3_000)
        clip_grad_norm_(ours, 1e6)
        nn.utils.clip_grad_norm_(torchs, 1e6)
        assert_same(ours, torchs)

    def test_a_large_gradient_is_clipped_to_the_norm_that_was_asked_for(self):
        # In double precision; torch's clip leaves a norm of 1.0004 here.
        parameter = nn.Parameter(torch.zeros(1_000_003))
        parameter.grad = torch.full_like(parameter, 0.1)
        norm = clip_grad_norm_([parameter], 1.0)
        assert norm.item() == pytest.approx(0.1 * math.sqrt(1_000_003), rel=1e-6)
        assert parameter.grad.double().norm().item() == pytest.approx(1.0, rel=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_dtypes_are_clipped_in_place(self, dtype):
        parameter = nn.Parameter(torch.zeros(2, dtype=dtype))
        parameter.grad = torch.tensor([3.0, 4.0], dtype=dtype)
        norm = clip_grad_norm_([parameter], 2.5)
        assert norm.item() == 5.0
        assert parameter.grad.dtype == dtype
        assert parameter.grad.tolist() == pytest.approx([1.5, 2.0], rel=1e-2)

    def test_sparse_gradients_are_clipped(self):
        embedding = nn.Embedding(5, 1, sparse=True)
        embedding(torch.tensor([1, 1, 1, 2])).sum().backward()  # (3, 1) at two of the rows
        assert clip_grad_norm_(embedding.parameters(), 1.0).item() == pytest.approx(math.sqrt(10))
        assert embedding.weight.grad.to_dense().norm().item() == pytest.approx(1.0)

    def test_a_parameter_given_twice_counts_once(self):
        parameter = parameter_with_gradient(3.0, 4.0)
        assert clip_grad_norm_([parameter, parameter], 1.0).item() == 5.0
        assert parameter.grad.tolist() == pytest.approx([0.6, 0.8])

    def test_one_tensor_may_come_without_a_list(self):
        assert clip_grad_norm_(parameter_with_gradient(3.0, 4.0), 1.0).item() == 5.0

    @pytest.mark.parametrize("parameters", [[], [nn.Parameter(torch.ones(2))]])
    def test_without_gradients_the_norm_is_zero(self, parameters):
        assert clip_grad_norm_(parameters, 1.0).item() == 0.0

    def test_an_empty_generator_is_warned_about(self):
        with pytest.warns(UserWarning, match="empty generator"):
            clip_grad_norm_((parameter for parameter in ()), 1.0)

    @pytest.mark.parametrize("bad", NON_FINITE)
    def test_error_if_nonfinite_raises_before_anything_is_changed(self, bad):
        parameters = [parameter_with_gradient(*bad), parameter_with_gradient(2.0)]
        with pytest.raises(NonFiniteGradientError, match="norm of the gradients is"):
            clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
        assert parameters[1].grad.item() == 2.0
        assert issubclass(NonFiniteGradientError, RuntimeError)


elements = st.floats(-(2.0**80), 2.0**80, width=32)
limits = st.floats(1e-3, 1e6)


class TestProperties:
    """For any finite gradients, in double precision."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(elements, min_size=1, max_size=6), limits, st.sampled_from([1.0, 2.0, math.inf]))
    def test_no_norm_exceeds_its_limit_and_the_coefficient_is_what_is_left(self, values, max_norm, norm_type):
        gradient = torch.tensor(values)
        before = torch.linalg.vector_norm(gradient.double(), norm_type).item()
        clip = ClipByGlobalNorm(max_norm, norm_type).clip_([gradient], gradient_norms([gradient], norm_type))
        after = torch.linalg.vector_norm(gradient.double(), norm_type).item()
        assert after <= max_norm * (1 + 1e-6)
        assert 0 <= clip.clip_coefficient.item() <= 1
        assert after == pytest.approx(clip.clip_coefficient.item() * before, rel=1e-6, abs=1e-30)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(elements, min_size=1, max_size=6), limits)
    def test_no_element_exceeds_its_limit_and_the_coefficient_is_what_is_left(self, values, clip_value):
        gradient = torch.tensor(values)
        before = torch.linalg.vector_norm(gradient.double()).item()
        clip = ClipByValue(clip_value).clip_([gradient], gradient_norms([gradient]))
        after = torch.linalg.vector_norm(gradient.double()).item()
        assert gradient.abs().max().item() <= clip_value * (1 + 1e-6)
        assert 0 <= clip.clip_coefficient.item() <= 1
        assert after == pytest.approx(clip.clip_coefficient.item() * before, rel=1e-5, abs=1e-30)


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
