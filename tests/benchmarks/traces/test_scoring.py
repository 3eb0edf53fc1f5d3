"""Detections made by hand against labels made by hand, by the rules that ``benchmarks.traces.scoring`` states."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import report
from benchmarks.traces import score
from benchmarks.traces.scoring import Tallies, add, rows, score_run

STEPS = 1000


def label(kind: str, start: int, end: int | None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "start_step": start, "end_step": end, **more}


def scored(labels: list[dict[str, Any]], *detections: tuple[str, int], ignore: Any = ()) -> Tallies:
    side = {"steps": STEPS, "labels": labels, "ignore": ignore}
    return score_run("run", side, [{"kind": kind, "start_step": step} for kind, step in detections])


def test_a_label_is_found_from_two_steps_before_it_to_ten_after():
    explosion = label("explosion", 500, 510)
    assert scored([explosion], ("explosion", 498))["explosion"].delays == [-2]
    assert scored([explosion], ("explosion", 510))["explosion"].delays == [10]
    assert scored([explosion], ("explosion", 511))["explosion"].missed == [("run", 500)]


def test_vanishing_has_200_steps_and_what_is_gradual_longer_still():
    assert scored([label("vanishing", 500, None)], ("vanishing", 700))["vanishing"].recall == 1.0
    assert scored([label("vanishing", 500, None)], ("vanishing", 701))["vanishing"].recall == 0.0
    assert scored([label("vanishing", 500, None, gradual=True)], ("vanishing", 800))["vanishing"].recall == 1.0
    assert scored([label("explosion", 500, None, gradual=True)], ("explosion", 600))["explosion"].recall == 1.0


def test_one_detection_finds_one_label():
    labels = [label("explosion", 500, 500), label("explosion", 505, 505)]
    assert scored(labels, ("explosion", 506))["explosion"].recall == 0.5
    assert scored(labels, ("explosion", 500), ("explosion", 506))["explosion"].recall == 1.0


def test_a_detection_of_another_kind_finds_nothing_but_is_no_false_alarm_within_the_event():
    tallies = scored([label("explosion", 500, 510)], ("vanishing", 505))
    assert tallies["explosion"].recall == 0.0
    assert (tallies["vanishing"].late, tallies["vanishing"].false_alarms) == (1, [])


def test_what_starts_up_to_a_hundred_steps_after_an_event_is_late_and_then_a_false_alarm():
    explosion = label("explosion", 500, 510)
    assert scored([explosion], ("explosion", 500), ("explosion", 610))["explosion"].late == 1
    assert scored([explosion], ("explosion", 500), ("explosion", 611))["explosion"].false_alarms == [("run", 611)]


def test_between_a_cause_and_what_it_caused_nothing_is_a_false_alarm():
    ramp = label("explosion", 500, None, cause_step=300)
    assert scored([ramp], ("explosion", 300))["explosion"].false_alarms == []
    assert scored([ramp], ("explosion", 297))["explosion"].false_alarms == [("run", 297)]


def test_a_span_to_ignore_costs_nothing_and_is_not_healthy():
    tallies = scored([], ("explosion", 150), ignore=[{"start_step": 100, "end_step": 199}])
    assert (tallies["explosion"].late, tallies["explosion"].healthy_steps) == (1, STEPS - 100)


def test_a_scalers_overflow_may_be_told_as_non_finite_and_as_nothing_else():
    overflow = label("non_finite", 500, 502, benign_amp=True)
    silent, told = scored([overflow]), scored([overflow], ("non_finite", 500))
    wrong = scored([overflow], ("explosion", 500))
    assert silent["non_finite"].recall is None
    assert told["non_finite"].false_alarms == []
    assert wrong["explosion"].false_alarms == [("run", 500)]


def test_runs_add_up_to_a_precision_and_a_rate_of_false_alarms():
    found = scored([label("explosion", 500, None)], ("explosion", 503))
    made_up = scored([], ("explosion", 20))
    total = add([found, made_up])["explosion"]
    assert (total.recall, total.precision, total.median_delay) == (1.0, 0.5, 3)
    assert total.healthy_steps == 498 + 1000
    assert total.false_alarms_per_10_000 == pytest.approx(1e4 / 1498)
    assert rows(add([found, made_up]))[0]["labels"] == 1


def test_the_command_prints_a_row_for_each_kind_and_names_the_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    side = {"steps": STEPS, "labels": [label("vanishing", 300, None)], "layer_names": ["0"]}
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "dead.json").write_text(json.dumps(side))
    (tmp_path / "detections.json").write_text(json.dumps({"dead": [{"kind": "explosion", "start_step": 7}]}))
    monkeypatch.setattr(report, "OUT", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["score", str(tmp_path / "traces"), str(tmp_path / "detections.json"), "--misses"])
    score.main()
    said = capsys.readouterr().out
    assert "missed  vanishing  dead from 300" in said
    assert "false   explosion  dead at 7" in said
    table = json.loads((tmp_path / "out" / "score.json").read_text())["rows"]
    assert [row["recall"] for row in table] == [None, 0.0, None]
