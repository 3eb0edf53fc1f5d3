"""Replay draws each run, with the labels that no detector saw."""

import json
from pathlib import Path

import pytest
from PIL import Image
from service.health.test_replay import norms_with, write_trace
from typer.testing import CliRunner

from gradvitals_service import cli
from gradvitals_service.health.drawing import HEIGHT, WIDTH
from gradvitals_service.health.marks import Mark
from gradvitals_service.health.replay import TraceError, replay
from gradvitals_service.health.replay_plots import read_labels


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Two runs, one of which explodes."""
    folder = tmp_path / "traces"
    folder.mkdir()
    write_trace(folder, "explodes", norms_with(slice(300, 301), slice(2, 3), 1e4))
    write_trace(folder, "healthy", norms_with(slice(0), slice(0), 1.0))
    return folder


def label(folder: Path, name: str, **content: object) -> Path:
    side = json.loads((folder / f"{name}.json").read_text())
    (folder / f"{name}.json").write_text(json.dumps(side | content))
    return folder / f"{name}.npz"


def test_every_run_is_drawn_into_a_folder_that_is_made(traces: Path, tmp_path: Path):
    label(traces, "explodes", labels=[{"kind": "explosion", "start_step": 300, "end_step": 300}])
    options = ["--out", str(tmp_path / "out.json"), "--plot", str(tmp_path / "new" / "plots")]
    answer = CliRunner().invoke(cli.app, ["replay", str(traces), *options])
    assert (answer.exit_code, answer.output) == (0, "")
    files = sorted((tmp_path / "new" / "plots").iterdir())
    assert [file.name for file in files] == ["explodes.png", "healthy.png"]
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))


def test_labels_change_no_event(traces: Path, tmp_path: Path):
    replay(traces, tmp_path / "before.json")
    label(traces, "healthy", labels=[{"kind": "explosion", "start_step": 100, "end_step": None}])
    replay(traces, tmp_path / "after.json", plot=tmp_path / "plots")
    assert (tmp_path / "after.json").read_text() == (tmp_path / "before.json").read_text()


def test_labels_and_steps_that_are_not_scored_are_read(traces: Path):
    file = label(
        traces,
        "healthy",
        labels=[{"kind": "vanishing", "start_step": 10, "end_step": None, "layers": None}],
        ignore=[{"start_step": 50, "end_step": 60, "reason": "ambiguous"}],
    )
    assert read_labels(file) == [Mark("vanishing", 10, None), Mark("not scored", 50, 60)]


@pytest.mark.parametrize("labels", ["not read", None, [7], [{"kind": "explosion"}], [{"kind": 1, "start_step": 2}]])
def test_labels_that_are_none_are_left_out(traces: Path, labels: object):
    assert read_labels(label(traces, "healthy", labels=labels)) == []


def test_a_folder_that_cannot_be_made_is_refused_in_words(traces: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "plots"):
        with pytest.raises(TraceError, match=f"{folder} cannot be written: "):
            replay(traces, tmp_path / "out.json", plot=folder)


def test_a_picture_that_cannot_be_written_is_refused_in_words(traces: Path, tmp_path: Path):
    (tmp_path / "plots" / "explodes.png").mkdir(parents=True)
    with pytest.raises(TraceError, match="plots cannot be written: Is a directory"):
        replay(traces, tmp_path / "out.json", plot=tmp_path / "plots")
