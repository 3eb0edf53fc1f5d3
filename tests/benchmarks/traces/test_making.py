"""A trace is made from small scenarios, and what it says can be checked against what was done."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.traces import __main__ as command
from benchmarks.traces import injections, networks, tasks
from benchmarks.traces.making import chosen
from benchmarks.traces.recording import Injection, Scenario, train, write
from benchmarks.traces.scenarios import SCENARIOS
from benchmarks.traces.training import constant, plan, sgd

from gradvitals_service.health.replay import read_trace

STEPS = 150
CAUSE = 60

healthy_plan = plan(lambda: networks.Mlp(10, 1), tasks.teacher, tasks.regress, constant(0.02), make_optimizer=sgd(0.9))


def made(folder: Path, *causes: Injection, name: str = "small") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    scenario = Scenario(name, "a small one", STEPS, healthy_plan, "tried", injections=causes)
    written = write(train(scenario, 1), scenario, 1, folder)
    with np.load(folder / f"{written}.npz") as archive:
        arrays = dict(archive)
    return arrays, json.loads((folder / f"{written}.json").read_text())


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_rate_that_is_two_hundred_times_too_high_explodes_in_the_step_after(tmp_path: Path):
    arrays, side = made(tmp_path, Injection(CAUSE, injections.raise_rate(200.0)))
    assert arrays["lr"][CAUSE] / arrays["lr"][CAUSE - 1] == pytest.approx(200.0)
    label = next(label for label in side["labels"] if label["kind"] == "explosion")
    assert (label["cause_step"], label["cause"]) == (CAUSE, "tried")
    assert CAUSE < label["start_step"] <= CAUSE + 3
    assert label["verified"]["harm_loss_ratio_40"] > 10.0


def test_a_block_of_dead_units_passes_nothing_back_and_is_labelled_so(tmp_path: Path):
    kill = injections.set_bias(lambda model: model.get_submodule("blocks.1.linear"), -1000.0)
    arrays, side = made(tmp_path, Injection(CAUSE, kill))
    below = [side["layer_names"].index(name) for name in ("read", "blocks.0.linear", "blocks.1.linear")]
    assert (arrays["layer_norms"][CAUSE:, below] == 0.0).all()
    assert (arrays["layer_norms"][:CAUSE, below] > 0.0).all()
    (label,) = [label for label in side["labels"] if label["kind"] == "vanishing"]
    assert (label["start_step"], label["end_step"]) == (CAUSE, None)
    assert label["layers"] == ["read", "blocks.0.linear", "blocks.1.linear"]


def test_a_nan_in_one_batch_is_non_finite_from_then_on_and_no_explosion(tmp_path: Path):
    _, side = made(tmp_path, Injection(CAUSE, injections.spoil_inputs(float("nan"), CAUSE)))
    assert [(label["kind"], label["start_step"], label["end_step"]) for label in side["labels"]] == [
        ("non_finite", CAUSE, None)
    ]


def test_without_a_cause_there_is_nothing_to_label_and_a_copy_trains_alike(tmp_path: Path):
    arrays, side = made(tmp_path)
    assert side["labels"] == []
    training, copied = healthy_plan(1), None
    for step in range(STEPS):
        row = training.measure(step)
        assert row.global_norm == pytest.approx(arrays["global_norm"][step], rel=1e-6)
        if copied is not None:
            assert copied.measure(step).global_norm == row.global_norm
            copied.update(row)
        training.update(row)
        if step == CAUSE:
            copied = training.fork()


def test_the_norms_are_those_of_torch_before_clipping_and_the_coefficient_brings_them_to_the_limit():
    training = healthy_plan(1)
    training.max_norm = 0.01
    row = training.measure(0)
    parameters = list(training.model.parameters())
    assert row.global_norm == pytest.approx(float(torch.nn.utils.get_total_norm([p.grad for p in parameters])))
    assert np.square(row.layer_norms).sum() == pytest.approx(row.global_norm**2)
    assert training.update(row) == pytest.approx(0.01 / row.global_norm, rel=1e-3)
    assert float(torch.nn.utils.get_total_norm([p.grad for p in parameters])) == pytest.approx(0.01, rel=1e-3)


def test_replay_reads_what_was_written(tmp_path: Path):
    arrays, _ = made(tmp_path)
    trace = read_trace(tmp_path / "small_1.npz")
    assert trace.layer_names == ("read", "blocks.0.linear", "blocks.1.linear", "write")
    assert (trace.frames.global_norm == arrays["global_norm"]).all()


def test_names_are_unique_and_the_command_says_which_there_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert len(chosen("*")) == sum(len(scenario.seeds) for scenario in SCENARIOS)
    assert {SCENARIOS[number].name for number, _ in chosen("e_rate_early_*")} == {"e_rate_early"}
    monkeypatch.setattr(sys, "argv", ["traces", "--only", "no such trace"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no trace has a name like no such trace" in capsys.readouterr().err
