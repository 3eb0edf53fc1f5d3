"""``clip_grad_norm_`` is torch's, bit for bit where torch's norm is right, and better where it is not."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from client.building import assert_same_gradients, gradients_of, parameter_with_gradient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from gradvitals.clipping import clip_grad_norm_
from gradvitals.errors import NonFiniteGradientError

NORM_TYPES = [0.5, 1.0, 2.0, 3.0, math.inf]
NON_FINITE = [[math.nan], [math.inf], [-math.inf], [math.inf, math.nan]]


def random_parameters(*sizes: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return parameters


class TestLikeTorch:
    """Up to 16,384 elements a layer norms are torch's own, and so is every bit of what follows from them."""

    def test_the_signature_is_torchs(self):
        ours, torchs = inspect.signature(clip_grad_norm_), inspect.signature(nn.utils.clip_grad_norm_)
        assert [(p.name, p.default, p.kind) for p in ours.parameters.values()] == [
            (p.name, p.default, p.kind) for p in torchs.parameters.values()
        ]

    @pytest.mark.parametrize("norm_type", [2.0, math.inf])
    @pytest.mark.parametrize("max_norm", [0.0, 1e-3, 0.7, 1e9, math.inf])
    @pytest.mark.parametrize("foreach", [None, True, False])
    @pytest.mark.parametrize("sizes", [[1], [5, 300, 9000, 16_384], [40] * 30])
    def test_norm_and_gradients_are_torchs_bit_for_bit(self, norm_type, max_norm, foreach, sizes):
        ours, torchs = random_parameters(*sizes), random_parameters(*sizes)
        norm = clip_grad_norm_(ours, max_norm, norm_type, foreach=foreach)
        torchs_norm = nn.utils.clip_grad_norm_(torchs, max_norm, norm_type, foreach=foreach)
        torch.testing.assert_close(norm, torchs_norm, rtol=0, atol=0)  # their dtypes are compared, too
        assert_same_gradients(ours, torchs)

    @settings(max_examples=200, deadline=None)
    @given(st.floats(2.0**-40, 2.0**60, width=32), st.floats(1e-8, 1e12))
    @example(5.0, 5.0)
    @example(5.0, 5.000001)
    def test_whatever_norm_and_limit_are(self, value, max_norm):
        ours, torchs = parameter_with_gradient(value, 1.0), parameter_with_gradient(value, 1.0)
        norm = clip_grad_norm_(ours, max_norm)
        torchs_norm = nn.utils.clip_grad_norm_(torchs, max_norm)
        assert norm.item() == torchs_norm.item()
        assert ours.grad.tolist() == torchs.grad.tolist()

    @settings(max_examples=100, deadline=None)
    @given(st.floats(2.0**-60, 2.0**60), st.floats(1e-8, 1e12))
    def test_in_double_precision_as_well(self, value, max_norm):
        ours, torchs = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
        for parameter in (ours, torchs):
            parameter.grad = torch.tensor([value, 1.0], dtype=torch.float64)
        assert clip_grad_norm_(ours, max_norm).item() == nn.utils.clip_grad_norm_(torchs, max_norm).item()
        assert ours.grad.tolist() == torchs.grad.tolist()

    @pytest.mark.parametrize("norm_type", [0.5, 1.0, 3.0])
    @pytest.mark.parametrize("max_norm", [1e-3, 0.7, 1e9])
    def test_other_norms_are_torchs_to_the_rounding_of_its_own(self, norm_type, max_norm):
        ours, torchs = random_parameters(5, 300, 700), random_parameters(5, 300, 700)
        close = {"rtol": 1e-5, "atol": 0}
        torch.testing.assert_close(
            clip_grad_norm_(ours, max_norm, norm_type), nn.utils.clip_grad_norm_(torchs, max_norm, norm_type), **close
        )
        for mine, theirs in zip(gradients_of(ours), gradients_of(torchs), strict=True):
            torch.testing.assert_close(mine, theirs, **close)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("bad", NON_FINITE)
    def test_what_is_not_finite_is_kept_as_torch_keeps_it(self, norm_type, bad):
        ours, torchs = ([parameter_with_gradient(1.0, *bad), parameter_with_gradient(2.0)] for _ in range(2))
        norm = clip_grad_norm_(ours, 1.0, norm_type)
        torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(torchs, 1.0, norm_type), equal_nan=True)
        assert_same_gradients(ours, torchs)

    def test_parameters_without_a_gradient_are_left_out_as_in_torch(self):
        ours, torchs = random_parameters(5, 300, 700), random_parameters(5, 300, 700)
        ours[1].grad = torchs[1].grad = None
        assert clip_grad_norm_(ours, 0.5).item() == nn.utils.clip_grad_norm_(torchs, 0.5).item()
        assert_same_gradients(ours, torchs)

    def test_where_nothing_is_clipped_nothing_is_written(self):
        parameters = random_parameters(5, 300)
        before = [parameter.grad._version for parameter in parameters]
        clip_grad_norm_(parameters, 1e6)
        assert [parameter.grad._version for parameter in parameters] == before


class TestBetterThanTorch:
    def test_clipped_gradients_of_large_layers_are_torchs_formula_with_our_norm(self):
        ours, torchs = random_parameters(5, 300_000), random_parameters(5, 300_000)
        norm = clip_grad_norm_(ours, 0.5)
        nn.utils.clip_grads_with_norm_(torchs, 0.5, norm)
        assert_same_gradients(ours, torchs)

    def test_a_gradient_whose_squares_overflow_is_scaled_instead_of_lost(self):
        parameter = parameter_with_gradient(3e30, 4e30)
        assert clip_grad_norm_([parameter], 1.0).item() == pytest.approx(5e30)
        assert parameter.grad.tolist() == pytest.approx([0.6, 0.8])

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

    def test_a_default_device_makes_no_difference(self):
        parameter = parameter_with_gradient(3.0, 4.0)
        with torch.device("meta"):  # as torch.set_default_device does for the whole script
            norm = clip_grad_norm_(parameter, 1.0)
        assert norm.item() == 5.0
        assert parameter.grad.tolist() == pytest.approx([0.6, 0.8])

    def test_the_norm_builds_no_graph(self):
        assert not clip_grad_norm_(parameter_with_gradient(3.0, 4.0), 1.0).requires_grad

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
