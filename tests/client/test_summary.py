"""The lines that measuring begins and ends with."""

from __future__ import annotations

import math

import pytest
from client.building import frame

from gradvitals.declarations import WatchedFacts
from gradvitals.summary import Summary, describe_watch


def test_steps_clips_the_largest_norm_and_events():
    summary = Summary()
    for step, (norm, coefficient) in enumerate([(1.0, 1.0), (31.4, 0.5), (2.0, 1.0), (3.0, 1.0)]):
        measured = frame(step, global_norm=norm)
        measured.clip_coefficient = coefficient
        summary.count(measured)
    assert summary.line(1) == "4 steps, 25.0 % clipped, largest global norm 31.4 at step 1, 1 event"


def test_a_norm_that_is_not_finite_is_counted_and_is_not_the_largest():
    summary = Summary()
    bad = frame(0, global_norm=math.nan)
    bad.clip_coefficient = math.nan
    summary.count(bad)
    summary.count(frame(1, global_norm=math.inf))
    summary.count(frame(2, global_norm=5.0))
    assert summary.line(0) == ("3 steps, 66.7 % clipped, largest global norm 5 at step 2, 2 non-finite, no events")


def test_a_run_without_steps():
    assert Summary().line(0) == "no step was seen"


@pytest.mark.parametrize(
    ("max_norm", "clip_value", "line"),
    [
        (1.0, None, "clipping 2 layers of main (SGD) with max_norm=1: remove your own clipping, or this one by "
                    "leaving out max_norm"),
        (None, 0.5, "clipping 2 layers of main (SGD) with clip_value=0.5: remove your own clipping, or this one by "
                    "leaving out clip_value"),
        (math.inf, None, "measuring 2 layers of main (SGD); gradients are not clipped"),
    ],
)  # fmt: skip
def test_a_watched_optimizer_is_told_with_its_limit(max_norm, clip_value, line):
    assert describe_watch("main", 2, WatchedFacts("SGD", 2.0, clip_value, max_norm)) == line


def test_another_way_to_clip_is_told_by_its_name():
    facts = WatchedFacts("SGD", 2.0, None, math.inf, "ClipByLayerNorm")
    line = describe_watch("main", 2, facts)
    assert line.startswith("clipping 2 layers of main (SGD) by ClipByLayerNorm: remove your own clipping, or this one")
    assert line.endswith("by leaving out strategy")
