"""Replay reads recorded traces and judges them as they would have been judged live."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gradvitals_service import cli
from gradvitals_service.health.replay import TraceError, read_trace, replay

REPOSITORY = Path(__file__).parents[3]
TRACES = Path(os.environ.get("GRADVITALS_TRACES", REPOSITORY.parent / "shared" / "traces"))


def write_trace(folder: Path, name: str, layer_norms, **changes) -> None:
    layer_norms = np.asarray(layer_norms, np.float32)
    n, layers = layer_norms.shape
    arrays = {
        "step": np.arange(n),
        "global_norm": np.sqrt(np.square(layer_norms.astype(np.float64)).sum(axis=1)).astype(np.float32),
        "loss": np.ones(n, np.float32),
        "lr": np.full(n, 0.1, np.float32),
        "clip_coefficient": np.ones(n, np.float32),
        "layer_norms": layer_norms,
        "param_norms": np.arange(n, dtype=np.float32)[:, None] * np.ones(layers, np.float32),
        "requires_grad": np.ones((n, layers), np.uint8),
    } | changes
    np.savez(folder / f"{name}.npz", **arrays)
    side = {"layer_names": [f"layer{i}" for i in range(layers)], "max_norm": None, "labels": "not read"}
    (folder / f"{name}.json").write_text(json.dumps(side))


def norms_with(rows: slice, columns: slice, factor: float, n: int = 500):
    norms = np.exp(np.random.default_rng(0).normal(0.0, 0.2, (n, 3)))
    norms[rows, columns] *= factor
    return norms


def test_every_trace_is_judged_and_the_events_name_their_layers(tmp_path):
    write_trace(tmp_path, "explodes", norms_with(slice(300, 301), slice(2, 3), 1e4))
    write_trace(tmp_path, "healthy", norms_with(slice(0), slice(0), 1.0))
    write_trace(tmp_path, "loses_a_layer", norms_with(slice(300, None), slice(1, 2), 1e-5))
    replay(tmp_path, tmp_path / "out.json")
    detections = json.loads((tmp_path / "out.json").read_text())
    assert detections["explodes"] == [
        {"kind": "explosion", "start_step": 300, "end_step": 300, "layers": ["layer2"]},
    ]
    assert detections["healthy"] == []
    (vanishing,) = detections["loses_a_layer"]
    assert (vanishing["kind"], vanishing["end_step"], vanishing["layers"]) == ("vanishing", None, ["layer1"])


def test_the_traces_can_be_judged_as_a_project_would_choose(tmp_path):
    norms = norms_with(slice(300, None), slice(1, 2), 1e-5)
    norms[100] *= 1e5
    write_trace(tmp_path, "run", norms)

    def kinds(*options: str) -> list[str]:
        command = ["replay", str(tmp_path), "--out", str(tmp_path / "out.json"), *options]
        answer = CliRunner().invoke(cli.app, command)
        assert answer.exit_code == 0, answer.output
        return [event["kind"] for event in json.loads((tmp_path / "out.json").read_text())["run"]]

    assert kinds() == ["explosion", "vanishing"]
    assert kinds("--off", "explosion") == ["vanishing"]
    assert kinds("--ignore", "*1") == ["explosion"]
    write_trace(tmp_path, "run", norms_with(slice(900, 901), slice(None), 20.0, n=1000))
    assert kinds() == []
    assert kinds("--sensitivity", "keen") == ["explosion"]


def test_weight_norms_come_at_the_cadence_of_the_wire(tmp_path):
    write_trace(tmp_path, "run", norms_with(slice(0), slice(0), 1.0))
    assert read_trace(tmp_path / "run.npz").frames.param_rows.tolist() == [0, 64, 128, 192, 256, 320, 384, 448]


def test_a_layer_that_is_frozen_on_the_way_is_no_event(tmp_path):
    trained = np.ones((500, 3), np.uint8)
    trained[300:, 1] = 0
    write_trace(tmp_path, "freezes", norms_with(slice(300, None), slice(1, 2), 0.0), requires_grad=trained)
    replay(tmp_path, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"freezes": []}


def test_a_non_finite_step_that_moved_no_weight_was_skipped(tmp_path):
    norms = norms_with(slice(0), slice(0), 1.0, n=5)
    norms[[1, 3]] = math.nan
    weights = np.array([0, 1, 1, 2, 3], np.float32)[:, None] * np.ones(3, np.float32)
    write_trace(tmp_path, "overflows", norms, param_norms=weights)
    assert read_trace(tmp_path / "overflows.npz").frames.flags.tolist() == [0, 4, 0, 0, 0]


def test_a_folder_that_is_none_is_refused_in_words(tmp_path):
    with pytest.raises(TraceError, match="missing is not a folder"):
        replay(tmp_path / "missing", tmp_path / "out.json")


def test_an_empty_folder_is_refused_in_words(tmp_path):
    with pytest.raises(TraceError, match="holds no traces"):
        replay(tmp_path, tmp_path / "out.json")


def test_arrays_without_names_are_refused_in_words(tmp_path):
    write_trace(tmp_path, "run", np.ones((5, 2)))
    (tmp_path / "run.json").unlink()
    with pytest.raises(TraceError, match=r"run\.npz has no run\.json beside it"):
        replay(tmp_path, tmp_path / "out.json")


def test_a_damaged_file_is_refused_by_name(tmp_path):
    write_trace(tmp_path, "run", np.ones((5, 2)))
    (tmp_path / "run.npz").write_bytes(b"not a zip")
    with pytest.raises(TraceError, match="run cannot be read as a trace"):
        replay(tmp_path, tmp_path / "out.json")


def test_a_missing_array_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "run.npz", step=np.arange(3))
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(TraceError, match=r"run: global_norm, .*layer_names, max_norm missing"):
        replay(tmp_path, tmp_path / "out.json")


def test_an_array_of_another_length_is_refused_by_name(tmp_path):
    write_trace(tmp_path, "run", np.ones((5, 2)), loss=np.ones(4, np.float32))
    with pytest.raises(TraceError, match=r"run: loss has the shape \(4,\) where \(5,\) was expected"):
        replay(tmp_path, tmp_path / "out.json")


def test_an_out_file_that_cannot_be_written_is_refused_in_words(tmp_path):
    write_trace(tmp_path, "run", np.ones((5, 2)))
    with pytest.raises(TraceError, match="cannot be written"):
        replay(tmp_path, tmp_path / "no" / "such" / "folder.json")


@pytest.mark.skipif(not TRACES.is_dir(), reason="no labelled corpus: set GRADVITALS_TRACES to its folder")
def test_the_detectors_beat_the_best_baselines_on_the_labelled_corpus(tmp_path):
    """Baselines (recall, precision): explosion .87 / .68, vanishing 1.0 / .75, non_finite 1.0 / 1.0."""
    replay(TRACES, tmp_path / "out.json")
    scored = score_with_the_corpus_own_scorer(tmp_path / "out.json")
    least = {"explosion": (0.93, 0.93), "vanishing": (1.0, 0.9), "non_finite": (1.0, 1.0)}
    for kind, (recall, precision) in least.items():
        assert scored[kind]["recall"] >= recall, kind
        assert scored[kind]["precision"] >= precision, kind
        assert scored[kind]["fa_per_10k"] <= 0.2, kind


def score_with_the_corpus_own_scorer(detections: Path) -> dict:
    command = [sys.executable, TRACES / "score.py", TRACES, detections, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
