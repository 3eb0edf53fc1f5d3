"""A norm that sticks to a round number is a clip's limit; living norms are not, however quiet they are."""

from __future__ import annotations

import math

import pytest
import torch

from gradvitals.already_clipped import WINDOW, AlreadyClipped


def limit_after(norms) -> float | None:
    detector = AlreadyClipped()
    for norm in norms:
        detector.observe(norm)
    return detector.limit


def living(count: int, scale: float = 3.0) -> list[float]:
    return (scale * torch.randn(count, generator=torch.Generator().manual_seed(0)).mul(0.5).exp()).tolist()


@pytest.mark.parametrize("limit", [1.0, 0.5, 0.25, 5.0, 1e-3])
def test_gradients_that_torch_clipped_are_recognised_by_their_limit(limit):
    def clipped_norm(norm: float) -> float:
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = torch.tensor([0.6 * norm, 0.8 * norm])
        torch.nn.utils.clip_grad_norm_([parameter], limit)
        return parameter.grad.norm().item()

    assert limit_after(clipped_norm(norm) for norm in living(WINDOW, scale=10 * limit)) == pytest.approx(limit)


def test_a_clip_that_bites_on_most_steps_is_enough():
    norms = [min(norm, 1.0) for norm in living(4 * WINDOW)]
    assert 0 < sum(norm < 1.0 for norm in norms) < WINDOW / 2
    assert limit_after(norms) == 1.0


def test_living_norms_are_not_accused():
    assert limit_after(living(4 * WINDOW)) is None


def test_a_clip_that_bites_on_half_of_the_steps_is_not_accused():
    assert limit_after(1.0 if step % 2 else norm for step, norm in enumerate(living(4 * WINDOW, scale=0.5))) is None


def test_a_norm_that_falls_slowly_is_not_accused():
    assert limit_after(1.0 * 0.999**step for step in range(4 * WINDOW)) is None


def test_a_constant_that_nobody_would_choose_is_not_accused():
    assert limit_after([1.2345] * 4 * WINDOW) is None


def test_zero_is_no_limit():
    assert limit_after([0.0] * 4 * WINDOW) is None


def test_a_single_larger_norm_shows_that_nothing_limits_them():
    assert limit_after([*[1.0] * (WINDOW - 1), 7.3]) is None


def test_a_few_steps_are_not_enough_to_accuse():
    assert limit_after([1.0] * (WINDOW - 1)) is None


def test_what_is_not_finite_says_nothing():
    assert limit_after([math.nan, math.inf] * WINDOW) is None
    assert limit_after([1.0, math.inf] * WINDOW) == 1.0


def test_removing_the_other_clip_ends_it():
    assert limit_after([1.0] * WINDOW + living(WINDOW)) is None


@pytest.mark.parametrize("limit", [0.125, 1.25, 0.333])
def test_a_limit_of_three_digits_is_recognised_where_norms_meet_it_exactly(limit):
    assert limit_after([limit * (1 - 5e-6)] * WINDOW) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.bfloat16, 1.0), (torch.bfloat16, 0.5), (torch.float16, 1.0), (torch.float16, 5.0)]
)
def test_in_half_precision_norms_lie_around_the_limit(dtype, limit):
    noise = torch.Generator().manual_seed(0)
    detector = AlreadyClipped(str(dtype).removeprefix("torch."))
    for norm in living(WINDOW, scale=10 * limit):
        parameters = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in (64, 8, 512)]
        for parameter in parameters:
            parameter.grad = (norm * torch.randn(parameter.shape, generator=noise)).to(dtype)
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        detector.observe(math.hypot(*(parameter.grad.double().norm().item() for parameter in parameters)))
    assert detector.limit == pytest.approx(limit)


def test_living_norms_in_half_precision_are_not_accused():
    detector = AlreadyClipped("bfloat16")
    for norm in living(4 * WINDOW, scale=1.0):
        detector.observe(norm)
    assert detector.limit is None
