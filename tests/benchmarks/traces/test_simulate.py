"""Long runs are simulated from the noise of a short one, and what is told of them is counted."""

import math

import numpy as np
import pytest
from benchmarks.traces.simulate import Noise, count_events
from service.health.detectors.streams import flat_loss, healthy, make_frames

from gradvitals_service.health.replay import Trace


def noise_of(norms: np.ndarray) -> Noise:
    frames = make_frames(norms, loss=flat_loss(len(norms)))
    noise = Noise.of(Trace("run", ("a", "b", "c"), frames, np.ones(norms.shape, np.bool_)))
    assert noise is not None
    return noise


def test_the_noise_of_a_quiet_run_raises_nothing():
    assert count_events(noise_of(healthy(900)), 20_000, seed=0).total() == 0


def test_what_would_be_told_is_counted_by_kind():
    noise = noise_of(healthy(900))
    counted = count_events(Noise(**{**_fields(noise), "tail_scale": 3.0}), 20_000, seed=0)
    assert counted["explosion"] > 0
    assert counted["vanishing"] == 0


def test_the_tail_is_as_heavy_as_that_of_the_run():
    """An exponential excess with a mean of a half, twice, over a level of zero."""
    random = np.random.default_rng(0)
    norms = np.exp(random.exponential(0.5, (60_000, 1)) * random.choice([-1.0, 1.0], (60_000, 1)))
    assert noise_of(norms).tail_scale == pytest.approx(0.5, rel=0.1)


def test_a_run_with_steps_without_gradient_has_no_level_to_simulate():
    norms = healthy(900)
    norms[500] = 0.0
    frames = make_frames(norms, loss=flat_loss(900))
    assert Noise.of(Trace("run", ("a", "b", "c"), frames, np.ones(norms.shape, np.bool_))) is None


def test_level_and_loss_fall_and_the_frames_go_on_from_chunk_to_chunk():
    chunks = list(noise_of(healthy(900)).chunks(10_240, seed=1))
    assert [chunk.first for chunk in chunks[:3]] == [0, 256, 512]
    fall = float(np.median(chunks[0].global_norm) / np.median(chunks[-1].global_norm))
    assert fall == pytest.approx(math.sqrt(10.2 / 1.1), rel=0.2)


def _fields(noise: Noise) -> dict[str, object]:
    return {name: getattr(noise, name) for name in Noise.__slots__}
