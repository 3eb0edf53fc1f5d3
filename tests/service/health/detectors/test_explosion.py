"""An explosion is a norm that the run's own level, noise and past do not explain, or that the loss pays for."""

import math

import numpy as np
import pytest
from service.health.detectors.streams import SEAM, SKIPPED_STEP, flat_loss, healthy, judge, kinds, make_frames

from gradvitals_service.health.detectors import Detectors

N = 400


def test_healthy_noise_is_silent_at_any_scale():
    for scale in (1e-6, 1.0, 1e5):
        assert judge(make_frames(scale * healthy(2000, spread=0.5), loss=flat_loss(2000))) == []


def test_a_norm_a_thousand_times_the_usual_is_told_in_the_same_step():
    norms = healthy(N)
    norms[300] *= 1000.0
    (event,) = judge(make_frames(norms))
    assert (event.kind, event.start_step, event.end_step, event.status) == ("explosion", 300, 300, "resolved")
    assert event.times_usual is not None
    assert 500.0 < event.times_usual < 2000.0


def test_what_clipping_absorbs_is_a_warning_and_what_is_applied_is_critical():
    norms = healthy(N)
    norms[-1] *= 1000.0
    clipped = make_frames(norms, max_norm=2.0, clip_coefficient=np.where(np.arange(N) == N - 1, 0.001, 1.0))
    assert [event.severity for event in judge(clipped)] == ["warning"]
    assert judge(clipped)[0].message.endswith("absorbed by clipping so far")
    assert [event.severity for event in judge(make_frames(norms))] == ["critical"]


def test_a_skipped_step_reached_no_weight():
    norms = healthy(N)
    norms[-1] *= 1000.0
    (event,) = judge(make_frames(norms, flags=np.where(np.arange(N) == N - 1, SKIPPED_STEP, 0)))
    assert event.severity == "warning"


def test_a_lone_spike_of_twenty_times_without_harm_is_benign():
    norms = healthy(N)
    norms[300] *= 20.0
    assert judge(make_frames(norms, loss=flat_loss(N))) == []


def test_spikes_that_are_usual_for_a_heavy_tailed_run_are_benign():
    norms = healthy(N * 5)
    norms[::20] *= np.exp(np.random.default_rng(1).exponential(0.5, (N * 5 // 20, 1)) + 2.0)
    assert judge(make_frames(norms, loss=flat_loss(N * 5))) == []


def test_a_large_norm_that_the_loss_pays_for_is_critical_though_it_is_below_a_hundred_times():
    norms, loss = healthy(N), flat_loss(N)
    norms[300:304] *= 30.0
    loss[301:] = 4.0
    (event,) = judge(make_frames(norms, loss=loss))
    assert (event.severity, event.start_step) == ("critical", 302)
    assert event.message.endswith("; the loss was harmed")


def test_a_new_task_lifts_loss_and_norm_at_once_and_is_no_explosion():
    norms, loss = healthy(N), flat_loss(N)
    fading = np.exp(-np.arange(N - 300) / 10.0)
    norms[300:] *= 1.0 + 30.0 * fading[:, None]
    loss[300:] += 10.0 * fading
    assert judge(make_frames(norms, loss=loss)) == []


def test_the_same_after_an_unheard_of_learning_rate_is_one():
    norms, loss, lr = healthy(N), flat_loss(N), np.full(N, 0.1)
    fading = np.exp(-np.arange(N - 300) / 10.0)
    norms[300:] *= 1.0 + 30.0 * fading[:, None]
    loss[300:] += 10.0 * fading
    lr[299:] = 10.0
    assert kinds(judge(make_frames(norms, loss=loss, lr=lr))) == ["explosion"]


def test_a_lone_hard_batch_is_excused_and_what_its_update_did_is_not():
    norms, loss = healthy(N), flat_loss(N)
    norms[300], loss[300] = norms[300] * 25.0, 30.0
    assert judge(make_frames(norms, loss=loss)) == []
    loss[301:] = 3.0
    (event,) = judge(make_frames(norms, loss=loss))
    assert (event.kind, event.severity, event.start_step) == ("explosion", "critical", 303)


def test_a_norm_does_not_stretch_the_noise_that_it_is_judged_by():
    """Twenty times the level is seldom before it is seen, and so it is after five frames of it have been."""
    norms, loss = healthy(N, groups=1, spread=0.5), flat_loss(N)
    norms[300:305] = 20.0 * np.median(norms[:300])
    loss[303:] = 1.2
    (event,) = judge(make_frames(norms, loss=loss))
    assert event.start_step == 304


def test_losses_beyond_doubt_need_a_large_norm_and_no_seldom_one():
    norms, loss = healthy(N, spread=0.9), flat_loss(N)
    norms[300] = np.median(norms[:300], axis=0) * 9.0
    loss[301:] = 1.1
    assert judge(make_frames(norms, loss=loss)) == []
    loss[301:] = 2.0
    assert kinds(judge(make_frames(norms, loss=loss))) == ["explosion"]


def test_two_bad_losses_of_three_are_not_beyond_doubt():
    norms, loss = healthy(N, spread=0.9), flat_loss(N)
    norms[300] = np.median(norms[:300], axis=0) * 9.0
    loss[301:303] = 2.0
    assert judge(make_frames(norms, loss=loss)) == []


def test_a_loss_that_strays_downwards_as_far_has_not_been_harmed():
    """The surrogate loss of a policy lies around zero, and says nothing by being a little above it."""
    norms, loss = healthy(N), 0.01 * flat_loss(N)
    norms[300] *= 25.0
    loss[301:] = 0.05
    assert kinds(judge(make_frames(norms, loss=loss))) == ["explosion"]
    loss[280] = -0.3
    assert judge(make_frames(norms, loss=loss)) == []


def test_a_run_that_diverges_in_its_first_steps_is_told_within_ten():
    norms, loss = healthy(N), flat_loss(N)
    norms[2:] *= 100.0
    loss[3:] = 50.0
    (event, *_) = judge(make_frames(norms, loss=loss))
    assert (event.kind, event.severity) == ("explosion", "critical")
    assert event.start_step < 10


def test_a_first_loss_that_doubles_for_a_while_is_no_explosion():
    norms, loss = healthy(N), flat_loss(N)
    norms[2:10] *= 15.0
    loss[2:10] = 2.0
    assert judge(make_frames(norms, loss=loss)) == []


def test_a_ramp_is_told_though_the_run_began_with_a_higher_loss_and_is_young():
    norms, loss = healthy(500), flat_loss(500)
    loss[:60] = 20.0
    growth = np.exp(np.maximum(np.arange(500) - 300, 0) / 50.0)
    (event,) = judge(make_frames(norms * growth[:, None], loss=loss * growth))
    assert event.kind == "explosion"
    assert event.start_step < 470


def test_a_slow_ramp_of_norm_and_loss_is_told():
    norms, loss = healthy(1500), flat_loss(1500)
    growth = np.exp(np.maximum(np.arange(1500) - 700, 0) / 70.0)
    warning, event = judge(make_frames(norms * growth[:, None], loss=loss * growth))
    assert (warning.kind, event.kind) == ("instability", "explosion")
    assert event.start_step < 1000


def test_growth_from_the_first_steps_is_told_before_any_level_is_known():
    norms = np.geomspace(1.0, 1e12, 7)[:, None] * np.ones(3)
    (event,) = judge(make_frames(norms))
    assert event.kind == "explosion"
    assert event.start_step <= 4


def test_large_first_transients_are_healthy():
    norms = healthy(N)
    norms[:40] *= np.geomspace(300.0, 1.0, 40)[:, None]
    assert judge(make_frames(norms, loss=flat_loss(N))) == []


def test_one_episode_is_one_event_and_a_later_one_another():
    norms = healthy(N)
    norms[200:210] *= np.geomspace(1e3, 1e6, 10)[:, None]
    norms[350] *= 1e8
    events = judge(make_frames(norms))
    assert [(event.start_step, event.end_step) for event in events] == [(200, 209), (350, 350)]


def test_a_run_that_stays_at_its_new_level_resolves_there():
    norms = healthy(N)
    norms[200:] *= 1e3
    (event,) = judge(make_frames(norms))
    assert event.status == "resolved"


def test_an_open_event_is_told_again_only_when_its_peak_has_doubled():
    norms = healthy(N)
    norms[300:306] = [[1000.0], [1500.0], [2100.0], [3000.0], [4300.0], [4400.0]]
    told = []
    frames = make_frames(norms)
    detectors = Detectors(3)
    for row in range(310):
        told += [(row, update.status) for update in detectors.observe(frames.rows(row, row + 1))]
    assert told == [(300, "open"), (302, "open"), (304, "open")]


def test_the_largest_groups_are_named_first():
    norms = healthy(N)
    norms[-1] = [1.0, 2e4, 5e4]
    (event,) = judge(make_frames(norms))
    assert event.groups == (2, 1)


def test_a_jump_at_the_seam_of_a_resume_raises_nothing():
    norms, flags = healthy(N), np.zeros(N, np.uint32)
    norms[300:] *= 40.0
    flags[300] = SEAM
    assert judge(make_frames(norms, loss=flat_loss(N), flags=flags)) == []


def test_exact_zeros_say_nothing_about_the_level():
    norms = healthy(N)
    norms[np.arange(N) % 3 > 0] = 0.0
    assert judge(make_frames(norms, loss=flat_loss(N))) == []


def test_a_norm_at_the_limit_of_float32_does_not_disturb_the_arithmetic():
    norms = healthy(N, groups=1)
    norms[300] = np.finfo(np.float32).max
    (event,) = judge(make_frames(norms))
    assert event.peak is not None
    assert math.isfinite(event.peak)


def test_the_event_says_when_the_peak_was_and_which_share_each_group_had_there() -> None:
    norms = healthy(N)
    norms[200:203] *= [[1e3, 1e3, 3e4], [1e3, 1e3, 1e5], [1e3, 1e3, 1e3]]
    (event,) = judge(make_frames(norms, loss=flat_loss(N)))
    assert (event.start_step, event.peak_step, event.groups) == (200, 201, (2,))
    assert event.shares == pytest.approx([1.0], abs=1e-3)


def test_a_peak_before_the_alarm_is_told_with_its_own_step() -> None:
    norms, loss = healthy(N), flat_loss(N)
    norms[200] *= 20.0
    loss[201:] *= 5.0
    (event,) = judge(make_frames(norms, loss=loss))
    assert (event.start_step, event.peak_step) == (202, 200)
