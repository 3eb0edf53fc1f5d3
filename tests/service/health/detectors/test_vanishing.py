"""Vanishing is a fall below a group's own past and below the other groups, that lasts."""

import numpy as np
import pytest
from service.health.detectors.streams import flat_loss, healthy, judge, make_frames

from gradvitals_service.health.detectors import Detectors

N = 600


def test_a_group_that_loses_its_gradient_is_told_within_forty_steps():
    norms = healthy(N)
    norms[300:, 1] *= 1e-4
    (event,) = judge(make_frames(norms, loss=flat_loss(N)))
    assert (event.kind, event.status, event.groups) == ("vanishing", "open", (1,))
    assert 300 < event.start_step < 340


def test_exact_zeros_are_no_gradient_at_all():
    norms = healthy(N)
    norms[300:, 1] = 0.0
    (event,) = judge(make_frames(norms))
    assert event.times_usual == 0.0
    assert event.message == "1 of 3 layers get less than 1/30 of their usual gradient, the weakest none at all"


def test_a_converging_run_falls_everywhere_and_is_healthy():
    fall = np.geomspace(1.0, 1e-7, N)
    assert judge(make_frames(healthy(N) * fall[:, None], loss=flat_loss(N) * fall)) == []


def test_all_groups_falling_while_the_loss_stands_still_is_vanishing():
    norms = healthy(N)
    norms[300:] *= 1e-5
    (event,) = judge(make_frames(norms, loss=flat_loss(N)))
    assert event.groups == (0, 1, 2)


def test_where_no_layer_is_measured_none_is_missed():
    norms = healthy(N, groups=0)
    assert judge(make_frames(norms, loss=flat_loss(N))) == []


def test_a_network_that_gets_no_gradient_at_all_is_critical_once_that_lasts():
    norms = healthy(N)
    norms[13:] = 0.0  # thrown off the map before its past was known
    (event,) = judge(make_frames(norms, loss=flat_loss(N)))
    assert (event.kind, event.severity, event.status, event.groups) == ("vanishing", "critical", "open", (0, 1, 2))
    assert event.message == "no layer has got any gradient for 128 steps, and the loss stands still"
    assert 13 + 128 <= event.start_step <= 13 + 128 + 2 * 8


def test_a_network_that_gets_gradient_again_is_told_as_recovered():
    norms = healthy(N)
    norms[100:300] = 0.0
    (event,) = judge(make_frames(norms, loss=flat_loss(N)))
    assert event.status == "resolved"
    assert 296 <= event.end_step < 340


def test_a_perfect_fit_gets_no_gradient_and_is_healthy():
    norms = healthy(N)
    norms[100:] = 0.0
    loss = flat_loss(N)
    loss[100:] = 0.0
    assert judge(make_frames(norms, loss=loss)) == []


def test_silences_of_a_run_with_rare_rewards_are_told_once_and_are_its_habit_then():
    norms = healthy(3000)
    norms[np.arange(3000) % 200 >= 60] = 0.0  # 140 frames of silence, again and again
    assert [event.status for event in judge(make_frames(norms, loss=flat_loss(3000)))] == ["resolved"]


def test_a_group_that_was_frozen_on_purpose_is_not_vanishing():
    norms = healthy(N)
    norms[300:, 1] = 0.0
    frames = make_frames(norms)
    detectors = Detectors(3)
    detectors.observe(frames.rows(0, 300))
    detectors.set_trainable([True, False, True])
    assert detectors.observe(frames.rows(300, N)) == []


def test_a_group_that_never_had_gradient_in_a_learning_network_is_unused_not_vanishing():
    norms = healthy(N)
    norms[:, 1] = 0.0
    assert judge(make_frames(norms, loss=np.linspace(1.0, 0.1, N))) == []


@pytest.mark.parametrize("period", [2, 3, 7, 20])
def test_groups_that_get_gradient_in_turn_are_healthy(period):
    norms = healthy(3000)
    norms[np.arange(3000) % period > 0, 1] = 0.0
    assert judge(make_frames(norms)) == []


def test_a_rare_embedding_is_healthy():
    norms = healthy(3000)
    norms[np.random.default_rng(0).random(3000) < 0.9, 1] = 0.0
    assert judge(make_frames(norms)) == []


def test_an_expert_that_rests_alone_for_a_hundred_and_fifty_frames_is_healthy():
    norms = healthy(N)
    norms[300:450, 1] = 0.0
    assert judge(make_frames(norms)) == []


def test_an_expert_that_rests_alone_for_longer_is_told_within_two_hundred():
    norms = healthy(N)
    norms[300:, 1] = 0.0
    (event,) = judge(make_frames(norms))
    assert 460 <= event.start_step <= 480


def test_what_dies_with_all_that_comes_before_it_is_told_at_once():
    norms = healthy(N)
    norms[300:, :2] = 0.0
    (event,) = judge(make_frames(norms))
    assert event.groups == (0, 1)
    assert event.start_step < 330


def test_a_rare_embedding_that_comes_back_weakly_is_healthy():
    """Its pause was no fall, so one weak batch after it is no part of one."""
    norms = healthy(3000)
    norms[np.random.default_rng(0).random(3000) < 0.9, 1] = 0.0
    norms[2000:2040, 1] = 0.0
    norms[2040:2048, 1] = [0, 0, 1e-3, 0, 0, 0, 0, 0]
    assert judge(make_frames(norms)) == []


def test_a_rate_that_is_known_from_few_frames_is_not_known_well():
    """About two frames in a hundred get gradient; after ten of them, four hundred without are no proof."""
    norms = healthy(3000)
    norms[:, 0] = 0.0
    norms[np.arange(0, 800, 50), 0] = 1.0
    norms[np.arange(1250, 3000, 50), 0] = 1.0
    assert judge(make_frames(norms)) == []


def test_a_short_lull_is_healthy():
    norms = healthy(N)
    norms[300:312, 1] *= 1e-4
    assert judge(make_frames(norms)) == []


def test_it_resolves_when_the_gradient_is_back():
    norms = healthy(N)
    norms[300:400, 1] *= 1e-4
    (event,) = judge(make_frames(norms))
    assert event.status == "resolved"
    assert event.end_step is not None
    assert 400 <= event.end_step < 424


def test_groups_that_follow_join_the_event():
    norms = healthy(N, groups=4)
    norms[300:, 1] *= 1e-4
    norms[400:, 2] *= 1e-4
    (event,) = judge(make_frames(norms))
    assert event.groups == (1, 2)


def test_it_is_critical_once_most_groups_are_dead_for_long_and_the_loss_is_no_better():
    norms = healthy(N)
    norms[300:, :2] *= 1e-4
    stuck = judge(make_frames(norms, loss=flat_loss(N)))
    learning = judge(make_frames(norms, loss=np.concatenate([flat_loss(300), np.linspace(1.0, 0.1, 300)])))
    assert [event.severity for event in stuck] == ["critical"]
    assert [event.severity for event in learning] == ["warning"]


class TestFromStepZero:
    """A network across whose depth the gradient falls off by a factor of ten a layer."""

    depth = np.geomspace(1e-7, 1.0, 8)

    def test_it_is_told_when_the_loss_does_not_move(self):
        (event,) = judge(make_frames(healthy(N, groups=8) * self.depth, loss=flat_loss(N)))
        assert event.kind == "vanishing"
        assert event.start_step < 100
        assert event.groups[0] == 0

    def test_it_is_not_told_when_the_loss_falls(self):
        assert judge(make_frames(healthy(N, groups=8) * self.depth, loss=np.linspace(1.0, 0.1, N))) == []

    def test_it_is_not_told_while_the_gradient_is_still_growing_there(self):
        growing = np.minimum(self.depth * np.linspace(1.0, 1e6, N)[:, None], 1.0)
        assert judge(make_frames(healthy(N, groups=8) * growing, loss=flat_loss(N))) == []

    def test_one_weak_group_alone_is_healthy(self):
        assert judge(make_frames(healthy(N, groups=8) * [1e-5, 1, 1, 1, 1, 1, 1, 1], loss=flat_loss(N))) == []

    def test_dead_layers_without_any_gradient_are_told(self):
        (event,) = judge(make_frames(healthy(N, groups=4) * [0.0, 0.0, 0.0, 1.0], loss=flat_loss(N)))
        assert event.groups == (0, 1, 2)


def test_an_explosion_does_not_become_the_usual_level():
    """What a group got during an explosion is not missed afterwards."""
    norms = healthy(N)
    norms[300:330] *= 1e6
    assert [event.kind for event in judge(make_frames(norms))] == ["explosion"]
