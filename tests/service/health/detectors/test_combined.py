"""The promises of all detectors together: pure, resumable, small, and deaf to how frames were split."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service.health.detectors.streams import SEAM, SKIPPED_STEP, flat_loss, healthy, judge, make_frames

from gradvitals_service.health.detectors import Detectors, EventUpdate, Frames
from gradvitals_service.health.detectors.explosion import ExplosionDetector
from gradvitals_service.health.detectors.vanishing import VanishingDetector

N = 500


def eventful(seed: int) -> Frames:
    """A stream with an explosion, a dead group, overflows, zeros, missing losses and a resume."""
    rng = np.random.default_rng(seed)
    norms, loss, flags = healthy(N, groups=5, seed=seed), flat_loss(N, seed=seed), np.zeros(N, np.uint32)
    norms[120:126] *= np.geomspace(10.0, 1e6, 6)[:, None]
    loss[121:] *= 3.0
    norms[250:400, :2] *= 1e-5
    bad = rng.integers(0, N, 6)
    norms[bad, rng.integers(0, 5, 6)] = rng.choice([math.nan, math.inf], 6)
    flags[bad[:3]] = SKIPPED_STEP
    flags[rng.integers(0, N)] |= SEAM
    norms[rng.integers(0, N, 10)] = 0.0
    loss[rng.integers(0, N, 10)] = math.nan
    weights = dict.fromkeys(range(0, N, 64), 1.0) | {448: float(rng.choice([1.0, math.nan]))}
    return make_frames(norms, loss=loss, flags=flags, max_norm=1.0, clip_coefficient=0.5, weights=weights)


def final(updates: list[EventUpdate]) -> list[EventUpdate]:
    newest = {(update.kind, update.start_frame): update for update in updates}
    return sorted(newest.values(), key=lambda update: (update.kind, update.start_frame))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(1, N - 1), max_size=30))
def test_any_split_and_any_restart_give_the_same_events_and_state_bit_for_bit(seed, cuts):
    frames = eventful(seed)
    whole = Detectors(5)
    expected = whole.observe(frames)
    assert len(expected) >= 3
    bounds = [0, *sorted(set(cuts)), N]
    detectors, updates = Detectors(5), []
    for start, stop in itertools.pairwise(bounds):
        detectors = Detectors.from_bytes(detectors.to_bytes())
        updates += detectors.observe(frames.rows(start, stop))
    assert final(updates) == final(expected)
    assert detectors.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_passing_over_calm_frames_gives_what_looking_at_each_gives_bit_for_bit(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = eventful(seed)
    passing = Detectors(5)
    told = passing.observe(frames)
    monkeypatch.setattr(ExplosionDetector, "_may_be_calm", lambda self: False)
    monkeypatch.setattr(VanishingDetector, "_something_stirs", lambda self: True)
    singly = Detectors(5)
    assert repr(singly.observe(frames)) == repr(told)
    assert singly.to_bytes() == passing.to_bytes()


@pytest.mark.parametrize("group_count", [1, 200, 4096])
def test_the_state_fits_64_bytes_a_group_and_4_kib(group_count):
    norms = healthy(300, groups=group_count)
    norms[150:, : group_count // 2] *= 1e-6
    norms[-1] = math.nan
    detectors = Detectors(group_count)
    detectors.observe(make_frames(norms, loss=flat_loss(300)))
    assert len(detectors.to_bytes()) <= 64 * group_count + 4096


def test_no_frames_are_no_news():
    assert Detectors(3).observe(make_frames(np.ones((0, 3)))) == []


def test_a_stream_without_any_group_is_judged_by_its_global_norm():
    frames = make_frames(np.ones((3, 0)))
    assert judge(frames) == []


def test_nothing_non_finite_enters_the_levels():
    """After a hundred broken frames of every sort the next explosion is judged against the level from before."""
    norms, loss = healthy(N), flat_loss(N)
    norms[200:300] = math.nan
    loss[200:300] = math.inf
    norms[400] *= 1e3
    events = judge(make_frames(norms, loss=loss))
    assert [(event.kind, event.start_step) for event in events] == [("non_finite", 200), ("explosion", 400)]
    assert events[1].usual == pytest.approx(1.7, rel=0.3)


@pytest.mark.parametrize("data", [b"", b"gvds", b"nonsense" * 10])
def test_a_foreign_state_is_refused_in_words(data):
    with pytest.raises(ValueError, match="the detector state"):
        Detectors.from_bytes(data)


def test_a_truncated_or_padded_state_is_refused():
    whole = Detectors(3).to_bytes()
    for damaged in (whole[:-1], whole + b"\0"):
        with pytest.raises(ValueError, match="the detector state"):
            Detectors.from_bytes(damaged)


def test_frames_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"group_norms must have the shape \(4, 3\), not \(4, 2\)"):
        Detectors(3).observe(make_frames(np.ones((4, 2))))


def test_a_trainable_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match="one entry for each of 3 groups"):
        Detectors(3, [True])
