"""Several ranks measure and clip exactly as one rank would, with as many collectives as torch's own clip.

The ranks are processes that torchrun starts, talking over gloo; ``norms_of_ranks.py`` is what they run.
"""

from __future__ import annotations

import math

import pytest
import torch
from client.distributed.training import COLLECTIVES, MAX_NORM, NORM_TYPES, WAYS, alone

from gradvitals.norms import gradient_norms

BEYOND_TORCH = {"tp": (1, "mixed torch.Tensor and DTensor"), "fsdp x tp, some": (2, "must have the same mesh")}


@pytest.fixture(scope="module")
def ranks(four_ranks):
    return [rank["norms"] for rank in four_ranks]


@pytest.fixture
def parameters():
    """Those of the same network after the same batch, on one rank."""
    training = alone()
    training.backward()
    return list(training.model.parameters())


@pytest.fixture
def by_hand(ranks):
    """(layer norms, global norm) of a case, once all ranks are known to have found the same."""

    def find(case):
        found = [rank["by hand"][case] for rank in ranks]
        assert [repr(norms) for norms in found] == [repr(found[0])] * 4
        return found[0]

    return find


class TestOneStepOfANetwork:
    """Whose layers do not divide by the number of ranks, so that on FSDP's fourth rank some shards are empty."""

    @pytest.mark.parametrize("p", NORM_TYPES)
    @pytest.mark.parametrize("way", WAYS)
    def test_norms_are_those_of_one_rank(self, way, p, ranks, parameters):
        expected = gradient_norms([parameter.grad for parameter in parameters], p)
        assert ranks[0][way]["layer_norms"][p] == pytest.approx(expected.layer_norms, rel=2e-6)
        assert ranks[0][way]["global_norms"][p] == pytest.approx(expected.global_norm, rel=1e-6)

    @pytest.mark.parametrize("way", WAYS)
    def test_all_ranks_find_the_same_numbers(self, way, ranks):
        for rank in ranks[1:]:
            assert rank[way]["layer_norms"] == ranks[0][way]["layer_norms"]
            assert rank[way]["global_norms"] == ranks[0][way]["global_norms"]

    @pytest.mark.parametrize("way", WAYS)
    def test_clipped_gradients_are_those_of_torchs_clip_on_one_rank(self, way, ranks, parameters):
        assert torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM) > 2 * MAX_NORM
        expected = [parameter.grad for parameter in parameters]
        for rank in ranks:
            torch.testing.assert_close(rank[way]["clipped"], expected, rtol=1e-5, atol=1e-8)

    @pytest.mark.parametrize("way", WAYS)
    def test_the_public_function_clips_as_torchs_does_on_one_rank(self, way, ranks, parameters):
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM).item()
        expected = [parameter.grad for parameter in parameters]
        for rank in ranks:
            assert rank[way]["norm_of_function"] == pytest.approx(norm, rel=1e-5)
            torch.testing.assert_close(rank[way]["clipped_by_function"], expected, rtol=1e-5, atol=1e-8)

    @pytest.mark.parametrize("way", COLLECTIVES)
    def test_measuring_enters_as_many_collectives_as_torchs_clip(self, way, ranks):
        assert ranks[0][way]["collectives"] == ranks[0][way]["collectives_of_torch"] == COLLECTIVES[way]

    @pytest.mark.parametrize("way", BEYOND_TORCH)
    def test_where_torch_refuses_there_is_one_for_each_sharded_dimension(self, way, ranks):
        collectives, words = BEYOND_TORCH[way]
        assert words in ranks[0][way]["collectives_of_torch"]
        assert ranks[0][way]["collectives"] == collectives

    @pytest.mark.parametrize("way", WAYS)
    def test_multiplying_enters_none(self, way, ranks):
        assert ranks[0][way]["collectives_of_multiplying"] == 0


class TestShards:
    """Of a gradient over 4 ranks, mostly one number on each."""

    def test_are_one_vector(self, by_hand):
        assert by_hand("shards of one number") == ([2.0], 2.0)

    def test_may_be_empty(self, by_hand):
        assert by_hand("empty shards") == ([5.0], 5.0)

    def test_may_be_empty_where_the_largest_element_counts(self, by_hand):
        assert by_hand("empty shards, largest") == ([4.0], 4.0)

    def test_count_as_zero_on_a_rank_that_has_no_gradient(self, by_hand):
        assert by_hand("no gradient on rank 1") == ([math.sqrt(3)], math.sqrt(3))

    def test_may_be_missing_altogether(self, by_hand):
        assert by_hand("no gradient on any rank") == ([0.0, 0.0], 0.0)
        assert by_hand("no layer") == ([], 0.0)

    def test_lie_beside_gradients_that_every_rank_has_whole(self, by_hand):
        assert by_hand("plain beside shards") == ([2.0, 5.0], math.sqrt(29))

    def test_may_be_cut_over_two_dimensions(self, by_hand):
        assert by_hand("sharded twice") == ([2.0, 2.0], math.sqrt(8))

    def test_may_lie_on_another_mesh_as_those_of_experts_do(self, by_hand):
        assert by_hand("experts") == ([2.0, 2.5], math.sqrt(10.25))

    def test_give_the_largest_absolute_value(self, by_hand):
        assert by_hand("largest of all") == ([3.0], 3.0)

    def test_in_half_precision_are_measured_in_single(self, by_hand):
        assert by_hand("in half precision") == ([600.0], 600.0)

    def test_whose_squares_leave_single_precision_have_a_norm(self, by_hand):
        assert by_hand("squares overflow")[1] == pytest.approx(2e30)
        assert by_hand("squares underflow")[1] == pytest.approx(2e-30)


class TestReplicas:
    def test_count_once(self, by_hand):
        assert by_hand("replicas") == ([5.0], 5.0)

    def test_that_differ_are_averaged_so_that_all_ranks_go_on_with_one_number(self, by_hand):
        # 1, 1, 1 and 5: the mean of their squares is 7.
        assert by_hand("replicas that differ") == (pytest.approx([2.0, math.sqrt(7)]), pytest.approx(math.sqrt(11)))

    def test_of_which_one_is_nan_are_nan_for_all_ranks(self, by_hand):
        assert repr(by_hand("a replica with a NaN")) == "([2.0, nan], nan)"


class TestGradientsStillToBeAddedUp:
    """As those of a norm layer are under sequence parallelism: the whole is the sum over the ranks."""

    def test_are_added_up_before_they_are_measured(self, by_hand):
        assert by_hand("still to be added up")[1] == pytest.approx(math.sqrt(4**2 + 4**2))

    def test_may_be_sharded_over_another_dimension(self, by_hand):
        assert by_hand("added up on one side") == ([5.0], 5.0)  # twice (1.5, 2)


class TestNotFinite:
    """On rank 2 alone; the others have a 1."""

    @pytest.mark.parametrize("largest", ["", ", largest"])
    @pytest.mark.parametrize(("bad", "norm"), [("nan", math.nan), ("inf", math.inf), ("-inf", math.inf)])
    def test_every_rank_is_told_of_it(self, bad, norm, largest, by_hand):
        layer_norms, global_norm = by_hand(f"{bad} on rank 2{largest}")
        assert layer_norms == pytest.approx([norm, 1.0 if largest else 2.0], nan_ok=True)
        assert global_norm == pytest.approx(norm, nan_ok=True)


class TestAFaultOnOneRank:
    """A rank that left before the collective would leave the others waiting in it."""

    def test_is_got_over_with_torchs_own_norm(self, by_hand):
        assert by_hand("a fault on rank 1") == ([2.0, 3.0], math.sqrt(13))

    def test_that_torch_shares_makes_the_layer_nan_on_every_rank(self, by_hand):
        assert repr(by_hand("two faults on rank 1")) == "([2.0, nan], nan)"

    def test_is_told_to_the_caller_on_that_rank(self, ranks):
        assert [len(rank["by hand"]["faults"]) for rank in ranks] == [0, 3, 0, 0]
        assert "out of memory in _foreach_norm" in ranks[1]["by hand"]["faults"][0]
