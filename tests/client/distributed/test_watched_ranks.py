"""A watched training on several ranks goes as it would on one, and what befalls one rank leaves none of them behind.

The ranks are processes that torchrun starts, talking over gloo; ``watched_ranks.py`` is what they run.
"""

from __future__ import annotations

import pytest
import torch
from client.distributed.training import COLLECTIVES, MAX_NORM, WAYS, alone
from client.distributed.watched_ranks import BAD_RANK, STEPS, fused_adamw, plain_sgd, train

from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP

SKIPPED = FLAG_NON_FINITE | FLAG_SKIPPED_STEP


@pytest.fixture(scope="module")
def ranks(four_ranks):
    return [rank["watched"] for rank in four_ranks]


def with_torchs_clip(make_optimizer, clip):
    """The parameters that one rank has after the same steps, clipped by torch."""
    training = alone()
    optimizer = make_optimizer(training.model)
    for step in range(STEPS):
        optimizer.zero_grad()
        training.backward(step)
        clip(list(training.model.parameters()))
        optimizer.step()
    return [parameter.detach() for parameter in training.model.parameters()]


def by_norm(parameters):
    torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)


def by_value(parameters):
    torch.nn.utils.clip_grad_value_(parameters, 0.01)


def by_layer(parameters):
    for parameter in parameters:
        torch.nn.utils.clip_grad_norm_(parameter, 0.05)


def by_half(parameters):
    for parameter in parameters:
        parameter.grad.mul_(0.5)


class TestTraining:
    """Three clipped steps of SGD with momentum, or of a fused AdamW that is told the factor."""

    @pytest.mark.parametrize("way", WAYS)
    def test_every_rank_reports_what_one_rank_would(self, way, ranks):
        expected = train(alone())["frames"]
        for rank in ranks:
            for frame, (global_norm, layer_norms, coefficient, flags) in zip(
                rank[way]["frames"], expected, strict=True
            ):
                assert frame == (
                    pytest.approx(global_norm, rel=1e-5),
                    pytest.approx(layer_norms, rel=1e-5),
                    pytest.approx(coefficient, rel=1e-5),
                    flags,
                )

    @pytest.mark.parametrize("way", WAYS)
    def test_the_weights_are_those_of_torchs_clip_on_one_rank(self, way, ranks):
        for rank in ranks:
            torch.testing.assert_close(
                rank[way]["parameters"], with_torchs_clip(plain_sgd, by_norm), rtol=1e-5, atol=1e-7
            )

    @pytest.mark.parametrize("way", COLLECTIVES)
    def test_a_step_enters_no_more_collectives_than_torchs_clip(self, way, ranks):
        assert ranks[0][way]["collectives"] == COLLECTIVES[way]

    @pytest.mark.parametrize(
        ("case", "make_optimizer", "clip"),
        [
            ("fused", fused_adamw, by_norm),
            ("fused hsdp", fused_adamw, by_norm),
            ("by value", plain_sgd, by_value),
            ("by layer", plain_sgd, by_layer),
            ("by function", plain_sgd, by_half),
            ("in the open", plain_sgd, by_norm),
            ("zero redundancy", plain_sgd, by_norm),
        ],
    )
    def test_every_way_to_clip_works_on_every_rank(self, case, make_optimizer, clip, ranks):
        expected = with_torchs_clip(make_optimizer, clip)
        for rank in ranks:
            torch.testing.assert_close(rank[case]["parameters"], expected, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize(
        ("case", "coefficient"), [("by function", 0.5), ("by value", 0.3276), ("by layer", 0.3890)]
    )
    def test_the_coefficient_of_other_ways_to_clip_is_that_of_the_whole(self, case, coefficient, ranks):
        assert [rank[case]["frames"][0][2] for rank in ranks] == [pytest.approx(coefficient, abs=1e-4)] * 4


class TestNotFiniteOnOneRank:
    """At step 1 the part of one gradient that rank 2 holds has a NaN."""

    def test_all_ranks_skip_the_step_and_keep_their_weights(self, ranks):
        assert [rank["skip"]["frames"][1][3] for rank in ranks] == [SKIPPED] * 4
        assert all(rank["skip"]["unchanged"] for rank in ranks)

    def test_all_ranks_of_a_replica_skip_though_only_one_copy_is_bad(self, ranks):
        pair = [rank["skip a replica"] for rank in ranks[2:]]
        assert [found["frames"][1][3] for found in pair] == [SKIPPED] * 2
        assert all(found["unchanged"] for found in pair)

    def test_all_ranks_keep_the_step_where_the_policy_says_so(self, ranks):
        assert [rank["keep"]["frames"][1][3] for rank in ranks] == [FLAG_NON_FINITE] * 4

    def test_all_ranks_raise_and_name_the_layer(self, ranks):
        assert len({rank["raise"]["raised"][0] for rank in ranks}) == 1
        assert "not finite in down.weight" in ranks[0]["raise"]["raised"][0]

    def test_the_counts_are_on_the_rank_that_holds_it(self, ranks):
        down_weight = 4
        counts = [rank["keep"]["counts"][1] for rank in ranks]
        assert counts == [None, None, [(down_weight, 1, 0)], None]


class TestScaler:
    """A loss scale of 1,024, and at step 1 an overflow in the part of one gradient that rank 2 holds."""

    @pytest.mark.parametrize("case", ["scaler", "scaler, fused"])
    def test_norms_are_those_without_it_on_every_rank(self, case, ranks):
        expected, *_ = train(alone())["frames"][0]
        assert [rank[case]["frames"][0][0] for rank in ranks] == [pytest.approx(expected, rel=1e-5)] * 4

    @pytest.mark.parametrize("case", ["scaler", "scaler, fused"])
    def test_a_step_that_it_skips_is_a_frame_on_every_rank(self, case, ranks):
        for rank in ranks:
            assert [(flags, scale) for _, _, flags, scale in rank[case]["frames"]] == [
                (0, 1024.0),
                (SKIPPED, 1024.0),
                (0, 512.0),
            ]

    def test_the_rank_that_overflowed_counts_it(self, ranks):
        assert [rank["scaler"]["counts"][1] for rank in ranks] == [None, None, [(4, 0, 1)], None]


class TestAFaultOfOursOnOneRank:
    """The other ranks neither wait for ever nor clip otherwise."""

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_is_told_there_and_the_training_is_as_without_it(self, when, ranks):
        for rank in ranks:
            torch.testing.assert_close(
                rank[f"fault {when} measuring"]["parameters"], ranks[0]["fsdp 4"]["parameters"], rtol=1e-6, atol=1e-8
            )
        lines = [rank[f"fault {when} measuring"]["lines"] for rank in ranks]
        assert [len(told) for told in lines] == [0, 0, 1, 0]
        assert "could not be measured" in lines[BAD_RANK][0]


class TestAgreement:
    @pytest.mark.parametrize("case", ["another limit", "another limit, ddp"])
    def test_ranks_that_would_clip_otherwise_are_refused_on_all_of_them(self, case, ranks):
        refusals = {rank[case] for rank in ranks}
        assert len(refusals) == 1
        assert "rank 0 has ClipByGlobalNorm with max_norm=1.0" in refusals.pop()

    def test_one_replica_alone_may_measure_what_all_of_them_share(self, ranks):
        assert ranks[0]["alone, ddp"] is None

    def test_a_rank_that_never_watches_is_named_to_the_others(self, ranks):
        others = [rank["absent"] for rank in ranks if rank["absent"] is not None]
        assert len(others) == 3
        assert all(refusal.startswith("rank 2 has not called watch") for refusal in others)


class TestRun:
    """30 steps, in which the loss of rank 2 is NaN at step 20 and everything else is finite."""

    def test_all_ranks_belong_to_one_run_and_one_launch(self, ranks):
        assert len({rank["run"]["run_id"] for rank in ranks}) == 1
        assert len({rank["run"]["attempt"]["launch"] for rank in ranks}) == 1
        assert [rank["run"]["attempt"]["rank"] for rank in ranks] == [0, 1, 2, 3]

    def test_rank_0_sends_every_frame(self, ranks):
        assert ranks[0]["run"]["steps"] == list(range(30))

    def test_the_rank_with_a_difference_of_its_own_sends_the_frames_around_it(self, ranks):
        assert ranks[BAD_RANK]["run"]["steps"] == list(range(12, 29))

    def test_the_others_send_no_frame_but_tell_their_step(self, ranks):
        for quiet in (ranks[1]["run"], ranks[3]["run"]):
            assert quiet["steps"] == []
            assert quiet["attempt"]["last_step"] == 29
            assert quiet["attempt"]["state"] == "finished"
