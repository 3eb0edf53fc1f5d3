"""The promises of all detectors together: pure, resumable, small, and deaf to how frames were split."""

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from service.health.detectors.streams import SEAM, SKIPPED_STEP, flat_loss, healthy, judge, make_frames

from gradvitals_service.health.detectors import KINDS, SENSITIVITIES, Detectors, EventUpdate, Frames, Kind, Options
from gradvitals_service.health.detectors.explosion import ExplosionDetector
from gradvitals_service.health.detectors.vanishing import VanishingDetector

N = 1300
TROUBLED = 500  # frames; in those after it the loss climbs with the learning rate


def eventful(seed: int) -> Frames:
    """A stream with an explosion, a dead group, overflows, zeros, missing losses, a resume, a saturated threshold and a
    loss that climbs until it explodes again."""
    rng = np.random.default_rng(seed)
    norms, loss, flags = healthy(N, groups=5, seed=seed), flat_loss(N, seed=seed), np.zeros(N, np.uint32)
    norms[120:126] *= np.geomspace(10.0, 1e6, 6)[:, None]
    loss[121:] *= 3.0
    norms[250:400, :2] *= 1e-5
    bad = rng.integers(0, TROUBLED, 6)
    norms[bad, rng.integers(0, 5, 6)] = rng.choice([math.nan, math.inf], 6)
    flags[bad[:3]] = SKIPPED_STEP
    flags[rng.integers(0, TROUBLED)] |= SEAM
    norms[rng.integers(0, TROUBLED, 10)] = 0.0
    loss[rng.integers(0, N, 10)] = math.nan
    loss[900:] *= np.exp(np.arange(N - 900) / 150.0)
    norms[1250:1260] *= 1e4
    lr = 0.1 * np.exp(np.maximum(np.arange(N) - TROUBLED, 0) / 400.0)
    weights = dict.fromkeys(range(0, N, 64), 1.0) | {448: float(rng.choice([1.0, math.nan]))}
    columns = {"loss": loss, "flags": flags, "lr": lr, "weights": weights}
    return make_frames(norms, **columns, max_norm=1.0, clip_coefficient=0.05)


def final(updates: list[EventUpdate]) -> list[EventUpdate]:
    newest = {(update.kind, update.start_frame): update for update in updates}
    return sorted(newest.values(), key=lambda update: (update.kind, update.start_frame))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(1, N - 1), max_size=30))
def test_any_split_and_any_restart_give_the_same_events_and_state_bit_for_bit(seed, cuts):
    frames = eventful(seed)
    whole = Detectors(5)
    expected = whole.observe(frames)
    assert {update.kind for update in expected} == set(get_args(Kind))
    bounds = [0, *sorted(set(cuts)), N]
    detectors, updates = Detectors(5), []
    for start, stop in itertools.pairwise(bounds):
        detectors = Detectors.from_bytes(detectors.to_bytes())
        updates += detectors.observe(frames.rows(start, stop))
    assert final(updates) == final(expected)
    assert detectors.to_bytes() == whole.to_bytes()


chosen = st.builds(Options, st.sampled_from(SENSITIVITIES), st.frozensets(st.sampled_from(KINDS), max_size=2))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.integers(1, N - 1), max_size=20),
    first=chosen,
    then=chosen,
    change=st.integers(1, N - 1),
    ignored=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_so_they_do_with_every_choice_and_when_it_changes_on_the_way(seed, cuts, first, then, change, ignored):
    frames = eventful(seed)
    whole = Detectors(5, options=first)
    expected = whole.observe(frames.rows(0, change))
    whole.follow(then, ignored, change)
    expected += whole.observe(frames.rows(change, N))
    detectors, updates = Detectors(5, options=first), []
    for start, stop in itertools.pairwise(sorted({0, change, *cuts, N})):
        detectors = Detectors.from_bytes(detectors.to_bytes())
        if start == change:
            detectors.follow(then, ignored, change)
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


@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_with_every_sensitivity_passing_over_calm_frames_changes_nothing(sensitivity, monkeypatch):
    frames = eventful(3)
    passing = Detectors(5, options=Options(sensitivity))
    told = passing.observe(frames)
    monkeypatch.setattr(ExplosionDetector, "_may_be_calm", lambda self: False)
    monkeypatch.setattr(VanishingDetector, "_something_stirs", lambda self: True)
    singly = Detectors(5, options=Options(sensitivity))
    assert repr(singly.observe(frames)) == repr(told)
    assert singly.to_bytes() == passing.to_bytes()


@pytest.mark.parametrize("group_count", [1, 200, 4096])
def test_the_state_fits_64_bytes_a_group_and_4_kib_with_events_open_over_all_groups(group_count):
    norms = healthy(300, groups=group_count)
    norms[150:] *= 1e-6
    norms[-1] = math.nan
    detectors = Detectors(group_count, options=Options("keen"))
    events = detectors.observe(make_frames(norms, loss=flat_loss(300)))
    everywhere = [event.kind for event in events if len(event.groups) == group_count and event.status == "open"]
    assert everywhere == ["vanishing", "non_finite"]
    assert len(detectors.to_bytes()) <= 64 * group_count + 4096


def test_no_frames_are_no_news():
    assert Detectors(3).observe(make_frames(np.ones((0, 3)))) == []


def test_a_stream_without_any_group_is_judged_by_its_global_norm():
    frames = make_frames(np.ones((3, 0)))
    assert judge(frames) == []


def test_nothing_non_finite_enters_the_levels():
    """After a hundred broken frames of every sort the next explosion is judged against the level from before."""
    norms, loss = healthy(TROUBLED), flat_loss(TROUBLED)
    norms[200:300] = math.nan
    loss[200:300] = math.inf
    norms[400] *= 1e3
    events = judge(make_frames(norms, loss=loss))
    assert [(event.kind, event.start_step) for event in events] == [("non_finite", 200), ("explosion", 400)]
    assert events[1].usual == pytest.approx(1.7, rel=0.3)


NOT_KNOWN_YET = {  # NaN, or an infinite bound, until there is one: of the next event, watch or frame
    "_after",
    "_loss_before",
    "_loss_bound",
    "_weakest",
    "peak",
    "told_peak",
    "usual",
}
EXTREMES = np.array([math.nan, math.inf, -math.inf, 3.4e38, 1e-45, 0.0, 1.0, 1.0, 1.0], np.float32)


def numbers(part: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every number of a state, with the name of the field that holds it."""
    if isinstance(part, float | int | np.ndarray):
        yield name, part
    elif isinstance(part, list | tuple | dict):
        for entry in part.values() if isinstance(part, dict) else part:
            yield from numbers(entry, name)
    elif part is not None and not isinstance(part, str):
        fields = getattr(part, "__slots__", None) or vars(part)
        for field in fields:
            yield from numbers(getattr(part, field), field)


@cache
def settled() -> bytes:
    """The state after 600 healthy frames of four groups: everything that can be known is."""
    detectors = Detectors(4)
    detectors.observe(make_frames(healthy(600, groups=4), loss=flat_loss(600)))
    return detectors.to_bytes()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), size=st.sampled_from([1, 3, 20, 100]))
def test_whatever_comes_every_number_of_the_state_stays_finite(seed, size):
    """Global and group norms that contradict each other, rates, losses and coefficients of every sort, and a resume."""
    rng = np.random.default_rng(seed)

    def any_of_them(*shape: int) -> NDArray[np.float32]:
        return rng.choice(EXTREMES, shape)

    detectors = Detectors.from_bytes(settled())
    broken = replace(
        make_frames(np.ones((100, 4)), loss=1.0),
        global_norm=np.abs(any_of_them(100)),
        group_norms=np.abs(any_of_them(100, 4)),
        loss=any_of_them(100),
        lr=any_of_them(100),
        clip_coefficient=np.abs(any_of_them(100)),
        max_norm=np.abs(any_of_them(100)),
        flags=rng.choice(np.array([0, SKIPPED_STEP, SEAM], np.uint32), 100, p=[0.5, 0.49, 0.01]),
    )
    for start in range(0, 100, size):
        detectors.observe(broken.rows(start, min(start + size, 100)))
        found = [(name, number) for name, number in numbers(detectors) if name not in NOT_KNOWN_YET]
        assert len(found) > 40
        assert [name for name, number in found if not np.isfinite(number).all()] == []


@pytest.mark.parametrize("factor", [0.05, 20.0, 1e4])
def test_a_resume_at_another_level_raises_nothing_and_keeps_what_is_usual(factor):
    """Steps go back, norms, loss and rate are others; the explosion after it is judged by the new level."""
    norms, flags, lr = healthy(N), np.zeros(N, np.uint32), np.full(N, 0.1)
    flags[300], norms[300:], lr[300:] = SEAM, norms[300:] * factor, 1.0
    loss = flat_loss(N) + (np.arange(N) >= 300)
    norms[450] *= 1e4
    frames = make_frames(norms, loss=loss, flags=flags, lr=lr)
    frames.step[300:] -= 200
    (event,) = judge(frames)
    assert (event.kind, event.start_frame, event.start_step) == ("explosion", 450, 250)
    assert event.usual == pytest.approx(1.7 * factor, rel=0.3)


def test_a_frame_that_contradicts_itself_is_no_example_of_what_is_usual():
    """Its global norm is finite and a group's is not: neither a jump nor a fall is seen in it, nor after it."""
    norms = healthy(N)
    frames = make_frames(norms, loss=flat_loss(N))
    frames.group_norms[200:300, 1] = math.inf
    frames.group_norms[300:400, 2] = math.nan
    assert judge(frames) == []


@pytest.mark.parametrize("data", [b"", b"gvds", b"nonsense" * 10])
def test_a_foreign_state_is_refused_in_words(data):
    with pytest.raises(ValueError, match="the detector state"):
        Detectors.from_bytes(data)


def test_a_state_of_the_former_format_is_refused_so_that_it_is_rebuilt():
    whole = Detectors(3).to_bytes()
    with pytest.raises(ValueError, match="must be rebuilt from frames"):
        Detectors.from_bytes(whole[:4] + struct.pack("<H", 1) + whole[6:])


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
