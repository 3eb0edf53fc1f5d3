"""Frames of another rank than 0 are kept apart: they name it in rank 0's event, and are no history of their own."""

import math
from typing import Any

import pytest
from service.speaking import ServiceUnderTest, Speaker, layout_id

BAD_STEP = 5
MESSAGE = (
    "the gradient is not finite in 1 of 2 layers, and the step was not skipped; "
    "first in backward order in encoder.weight, still finite next to it: head.weight"
)


def four_ranks(service: ServiceUnderTest) -> list[Speaker]:
    """One run, each rank with its own attempt of the same launch."""
    first = service.declare_run()
    ranks = [first]
    for _ in range(3):
        other = Speaker(service, first.run_id)
        other.launch = first.launch
        ranks.append(other)
    for rank, speaker in enumerate(ranks):
        speaker.heartbeat(rank=rank, world_size=4)
    return ranks


def frames(*, loss: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Ten frames, at the sixth of which the shared gradient is NaN in one layer."""
    bad = [k == BAD_STEP for k in range(10)]
    return {
        "global_norm": [math.nan if is_bad else 5.0 for is_bad in bad],
        "clip_coefficient": [math.nan if is_bad else 1.0 for is_bad in bad],
        "layer_norms": [norm for is_bad in bad for norm in (math.nan if is_bad else 3.0, 4.0)],
        "flags": [3 if is_bad else 2 for is_bad in bad],
        "loss": [loss if is_bad else 1.0 for is_bad in bad],
    } | changes


def held(row: int = BAD_STEP) -> list[dict[str, Any]]:
    return [{"row": row, "non_finite": [[0, 1, 0]], "batch_id": None}]


def the_event(service: ServiceUnderTest, run: Speaker) -> dict[str, Any]:
    (event,) = service.get(f"{run.path}/events")["events"]
    assert isinstance(event, dict)
    return event


class TestSeries:
    def test_rank_0_is_drawn_without_the_frames_of_others(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 3)
        ranks[2].send(0, 2, global_norm=[7.0, 7.0])
        series = service.get(f"{ranks[0].path}/series", metrics="global_norm")
        assert series["frames"] == 3
        assert series["series"]["global_norm"]["max"] == [5.0, 5.0, 5.0]

    def test_the_figures_of_the_run_are_those_of_rank_0(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 3)
        ranks[2].send(0, 5, global_norm=[7.0] * 5, loss=[9.0] * 5)
        run = service.get(ranks[0].path)
        assert (run["frames"], run["last_step"], run["global_norm"], run["loss"]) == (3, 2, 5.0, 1.0)

    def test_the_frames_of_another_rank_can_be_asked_for(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[2].send(0, 2, step=[41, 42])
        assert service.get(f"{ranks[0].path}/series", metrics="loss", rank=2)["step"] == [41, 42]


class TestEvents:
    def test_another_rank_makes_none(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[2].send(0, 10, **frames(loss=math.nan))
        assert service.get(f"{ranks[0].path}/events")["events"] == []
        assert service.get(ranks[0].path)["health"] == "unknown"

    @pytest.mark.parametrize("order", [[0, 2], [2, 0]])
    def test_the_rank_whose_loss_was_bad_is_named_whoever_comes_first(
        self, order: list[int], service: ServiceUnderTest
    ) -> None:
        ranks = four_ranks(service)
        for rank in order:
            ranks[rank].send(0, 10, **frames(loss=math.nan if rank == 2 else 1.0))
        event = the_event(service, ranks[0])
        assert event["rank"] == 0
        assert event["message"] == f"{MESSAGE}; rank 2 had a loss that was not finite"

    def test_rank_0_is_named_as_well(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 10, **frames(loss=math.inf))
        ranks[3].send(0, 10, **frames(loss=math.nan))
        assert the_event(service, ranks[0])["message"].endswith("; ranks 0, 3 had a loss that was not finite")

    def test_a_rank_that_held_a_bad_part_is_named_where_no_loss_was_bad(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 10, **frames())
        ranks[1].send(0, 10, **frames(details=held()))
        assert the_event(service, ranks[0])["message"].endswith("; rank 1 held a part that was not finite")

    def test_without_a_word_from_any_the_rank_is_unknown(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 10, **frames())
        ranks[1].send(0, 2)
        assert the_event(service, ranks[0])["message"] == f"{MESSAGE}; rank unknown"

    def test_what_was_bad_at_another_step_is_not_the_cause(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 10, **frames())
        ranks[1].send(0, 10, **frames(details=held(BAD_STEP + 1)))
        assert the_event(service, ranks[0])["message"].endswith("; rank unknown")

    def test_ranks_of_another_launch_do_not_count(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        ranks[0].send(0, 10, **frames())
        stranger = Speaker(service, ranks[0].run_id)
        stranger.heartbeat(rank=1, world_size=4)
        stranger.send(0, 10, **frames(loss=math.nan))
        assert the_event(service, ranks[0])["message"].endswith("; rank unknown")

    def test_a_run_of_one_rank_has_none_to_name(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 10, **frames(loss=math.nan))
        assert the_event(service, run)["message"] == MESSAGE

    def test_the_client_hears_of_an_event_that_was_completed(self, service: ServiceUnderTest) -> None:
        ranks = four_ranks(service)
        seen = ranks[0].send(0, 10, **frames())["event_revision"]
        ranks[2].send(0, 10, **frames(loss=math.nan))
        answer = ranks[0].heartbeat(world_size=4, events_seen=seen)
        assert [event["message"] for event in answer["events"]] == [f"{MESSAGE}; rank 2 had a loss that was not finite"]


class TestNoLayers:
    """As of a run whose norms are told by DeepSpeed."""

    def test_frames_without_layers_are_taken_and_judged(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.declare_layout([])
        run.send(0, 10, **frames(layer_norms=[]), layout_id=layout_id([]))
        assert the_event(service, run)["message"] == "the gradient is not finite, and the step was not skipped"
        assert service.get(f"{run.path}/layers") == {"step": 9, "layers": []}
