"""What a run says of itself."""

from __future__ import annotations

import math

import msgspec
from client.building import attempt

from gradvitals.declarations import WatchedFacts
from gradvitals.pending import Counts


def test_a_heartbeat_counts_the_frames_of_each_monitor():
    body = attempt().body({"main": Counts(made=9, waiting=3, lost=2)}, events_seen=4)
    assert body["events_seen"] == 4
    assert body["monitors"]["main"] == {
        "made": 9,
        "spooled": 3,
        "lost": 2,
        "optimizer": "SGD",
        "max_norm": 1.0,
        "clip_value": None,
        "norm_type": 2.0,
    }


def test_a_monitor_without_a_frame_has_made_none():
    assert attempt().body({}, 0)["monitors"]["main"]["made"] == 0


def test_numbers_that_are_not_finite_are_strings_in_a_heartbeat():
    now = attempt()
    now.monitors["main"].overhead = math.nan
    now.monitors["main"].norm_type = math.inf
    now.monitors["main"].max_norm = math.inf
    body = msgspec.json.decode(msgspec.json.encode(now.body({}, 0)))
    assert body["overhead"] == "NaN"
    assert body["monitors"]["main"]["norm_type"] == "Infinity"
    assert body["monitors"]["main"]["max_norm"] is None


def test_the_overhead_is_that_of_all_monitors_together():
    now = attempt()
    shares = {"main": 0.5, "main-2": 0.25}
    now.monitors = {name: WatchedFacts("SGD", 2.0, None, 1.0, overhead=share) for name, share in shares.items()}
    assert now.body({}, 0)["overhead"] == 0.75
    now.monitors["main"].overhead = 0.9
    assert now.body({}, 0)["overhead"] == 1.0
