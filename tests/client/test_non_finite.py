"""What is not finite is counted, and the first bad layer in backward order is told."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradvitals.non_finite import FirstNonFinite, count_non_finite, first_non_finite, name_non_finite, where_it_began

NAMES = ["embed", "a", "b", "c", "head"]


class Spoiled(nn.Module):
    """Five layers in a row; backward spoils the gradient that one of them is given."""

    def __init__(self, place: int, value: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(5))
        self.place, self.value = place, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place == self.place:
                x.register_hook(lambda gradient: gradient * self.value)
        return x


def counts_of(model: nn.Module) -> list[tuple[int, int, int]]:
    return count_non_finite(parameter.grad for parameter in model.parameters())


class TestCounting:
    def test_counts_nan_and_infinities_of_either_sign(self):
        gradients = [torch.ones(3), torch.tensor([math.nan, math.inf, -math.inf]), None, torch.tensor([math.nan])]
        assert count_non_finite(gradients) == [(1, 1, 2), (3, 1, 0)]

    def test_counts_the_sum_of_what_is_sparse(self):
        sparse = torch.sparse_coo_tensor([[0, 0]], [math.inf, -math.inf], (4,), check_invariants=True)  # a NaN
        assert count_non_finite([sparse]) == [(0, 1, 0)]


class TestNaming:
    def test_names_the_first_few(self):
        norms = torch.tensor([math.nan, 1.0, math.inf, math.nan, math.nan])
        assert name_non_finite(norms, NAMES) == "embed, b, c and 1 more"

    def test_says_where_it_is_no_single_layer(self):
        assert name_non_finite(torch.ones(5), NAMES) == "no single layer"


class TestFirst:
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("place", range(5))
    def test_is_the_layer_in_whose_gradient_alone_it_was_planted(self, place, value):
        model = Spoiled(0, 1.0)
        model(torch.ones(1, 2)).sum().backward()
        model.layers[place].weight.grad[0, 0] = value
        first = first_non_finite(counts_of(model), 5)
        assert first == FirstNonFinite(
            layer=place,
            finite_before=place + 1 if place < 4 else None,
            finite_after=place - 1 if place > 0 else None,
            everywhere=False,
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("place", range(5))
    def test_is_the_layer_in_whose_backward_it_arose_though_all_layers_before_it_are_bad_too(self, place, value):
        model = Spoiled(place, value)
        model(torch.ones(1, 2)).sum().backward()
        first = first_non_finite(counts_of(model), 5)
        assert first == FirstNonFinite(
            layer=place, finite_before=place + 1 if place < 4 else None, finite_after=None, everywhere=place == 4
        )

    def test_is_nowhere_when_all_is_finite(self):
        assert first_non_finite([], 5) is None
        assert first_non_finite([(2, 0, 0)], 5) is None

    def test_looks_past_layers_without_a_gradient(self):
        first = first_non_finite([(2, 1, 0)], 5, without_gradient={1, 3})
        assert (first.finite_before, first.finite_after) == (4, 0)

    def test_is_around_a_gap_the_nearest_finite_layer(self):
        first = first_non_finite([(0, 1, 0), (1, 0, 2), (3, 1, 0)], 5)
        assert (first.layer, first.finite_before, first.finite_after) == (3, 4, 2)


class TestInWords:
    def test_says_the_layer_and_its_neighbours(self):
        words = where_it_began(first_non_finite([(2, 1, 0)], 5), NAMES)
        assert words == "b, the first in backward order; still finite next to it: c and a"

    def test_says_one_neighbour_where_there_is_no_other(self):
        words = where_it_began(first_non_finite([(0, 1, 0), (1, 1, 0)], 5), NAMES)
        assert words == "a, the first in backward order; still finite next to it: b"

    def test_claims_no_more_than_it_knows_where_everything_is_bad(self):
        words = where_it_began(first_non_finite([(place, 1, 0) for place in range(5)], 5), NAMES)
        assert words == "every layer, so it began in the loss or in head"
