"""Train a scenario, its twins and its trials, and put what happened into a trace: NAME.npz and NAME.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.traces import labelling
from benchmarks.traces.training import Change, Row, Training

TWIN_STEPS: Final = 400
"""How long a twin is trained at most: what has lasted for so long is taken to last."""

MEDIAN_STEPS: Final = 64
MEDIAN_KNOWN: Final = 16
TRIALS_APART: Final = 10
MOST_TRIALS: Final = 40

OWN_AGAIN: Final = 100
"""Steps after an injection from which on a spike may be the run's own again."""

BROKEN_STEPS: Final = 60
"""A run that has been non-finite for so many steps has nothing more to show."""

MANTISSA_BITS: Final = 15


@dataclass(frozen=True, slots=True)
class Injection:
    """A cause of trouble: what is changed before ``step``, and what puts it right again, if anything does."""

    step: int
    change: Change
    restored_at: int | None = None
    restore: Change | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run to train, with several seeds. ``control`` builds the healthy twin of a run that is ill from step 0."""

    name: str
    narrative: str
    steps: int
    build: Callable[[int], Training]
    cause: str = "none"
    seeds: tuple[int, ...] = (1,)
    injections: tuple[Injection, ...] = ()
    control: Callable[[int], Training] | None = None


@dataclass(slots=True)
class Recording:
    """The rows of one training, one after the other."""

    rows: list[Row] = field(default_factory=list)
    coefficients: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def norms(self) -> NDArray[np.float64]:
        return np.array([row.global_norm for row in self.rows])

    @property
    def losses(self) -> NDArray[np.float64]:
        return np.array([row.loss for row in self.rows])

    @property
    def layer_norms(self) -> NDArray[np.float64]:
        return np.array([row.layer_norms for row in self.rows])


@dataclass(slots=True)
class Trial:
    """A spike in question: where it was, how large norms were then, and the losses of the copy that clips it."""

    step: int
    median: float
    clipped_losses: NDArray[np.float64]


@dataclass(slots=True)
class Run:
    """A scenario trained with one seed, with the twins of its injections and the trials of its spikes."""

    recording: Recording
    twins: dict[int, Recording]
    trials: list[Trial]
    layers: tuple[str, ...]
    numels: tuple[int, ...]
    max_norm: float | None
    optimizer: str
    scaled: bool  # its loss, so that steps that overflow are skipped


def train(scenario: Scenario, seed: int) -> Run:
    """Train the scenario and everything that it must be compared with."""
    training = scenario.build(seed)
    recording, trials, forks = Recording(), list[Trial](), dict[int, Training]()
    for step in range(scenario.steps):
        for injection in scenario.injections:
            if injection.step == step:
                forks[step] = training.fork()
                injection.change(training)
            if injection.restored_at == step and injection.restore is not None:
                injection.restore(training)
        row = training.measure(step)
        if not _disturbed(scenario, step) and _stands_out(row, recording, step, trials):
            trials.append(_try_clipped(training, recording, step))
        recording.rows.append(row)
        recording.coefficients.append(training.update(row))
        if len(recording) > BROKEN_STEPS and all(row.broken.any() for row in recording.rows[-BROKEN_STEPS:]):
            break
    if scenario.control is not None:
        forks[0] = scenario.control(seed)
    twins = {start: _train_on(fork, start, _twin_end(scenario, start, len(recording))) for start, fork in forks.items()}
    names = tuple(name for name, _ in training.layers)
    numels = tuple(sum(p.numel() for p in parameters) for _, parameters in training.layers)
    optimizer = type(training.optimizer).__name__.lower()
    scaled = training.scaler is not None
    return Run(recording, twins, trials, names, numels, training.max_norm, optimizer, scaled)


def _disturbed(scenario: Scenario, step: int) -> bool:
    """What follows an injection is the injection's, and what is tried must end before it. A run that is compared with
    a control is compared as a whole."""
    if scenario.control is not None:
        return True
    return any(i.step - labelling.HARM_STEPS <= step < i.step + OWN_AGAIN for i in scenario.injections)


def _stands_out(row: Row, recording: Recording, step: int, trials: Sequence[Trial]) -> bool:
    if len(recording) < MEDIAN_KNOWN or len(trials) == MOST_TRIALS or not math.isfinite(row.global_norm):
        return False
    if trials and step - trials[-1].step < TRIALS_APART:
        return False
    return row.global_norm > labelling.SPIKE * _recent_median(recording)


def _recent_median(recording: Recording) -> float:
    return float(np.median([row.global_norm for row in recording.rows[-MEDIAN_STEPS:]]))


def _try_clipped(training: Training, recording: Recording, step: int) -> Trial:
    median = _recent_median(recording)
    clipped = _train_on(training.fork(), step, step + labelling.HARM_STEPS + 1, max_norm=median)
    return Trial(step, median, clipped.losses[1:])


def _twin_end(scenario: Scenario, start: int, end: int) -> int:
    """Where the comparison with the twin ends: at the next injection, or when it has lasted."""
    later = [injection.step for injection in scenario.injections if injection.step > start]
    return min([end, start + TWIN_STEPS, *later])


def _train_on(training: Training, start: int, stop: int, max_norm: float | None = None) -> Recording:
    recording = Recording()
    for step in range(start, stop):
        row = training.measure(step)
        recording.rows.append(row)
        recording.coefficients.append(training.update(row, max_norm))
        if row.broken.any() and max_norm is not None:
            break
    return recording


def label(run: Run, scenario: Scenario) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The labels of a run, and the spans in which nothing is scored."""
    labels, ignore = list[dict[str, Any]](), list[dict[str, Any]]()
    for start, twin in sorted(run.twins.items()):
        stop = start + len(twin)
        before = float(np.median(run.recording.norms[max(start - MEDIAN_STEPS, 0) : start])) if start else 0.0
        found = labelling.explosion(run.recording.norms[start:stop], twin.norms, start, before)
        for explosion in found:
            lag = explosion["start_step"] - start + 1
            harm = labelling.loss_ratio(run.recording.losses[start + lag : stop], twin.losses[lag:])
            explosion["verified"]["harm_loss_ratio_40"] = harm
            if harm is not None and harm < labelling.BENIGN:
                explosion["harm"] = "none measured"
        frozen = np.array([~row.requires_grad for row in run.recording.rows[start:stop]])
        mine, its = run.recording.layer_norms[start:stop], np.where(frozen, 0.0, twin.layer_norms)
        vanishing, faint = labelling.vanishing(mine, its, run.layers, start)
        for gone in vanishing:
            gone["end_step"] = _to_the_end(gone["end_step"], stop, len(run.recording))
            if found:
                gone["consequence"] = True
        labels += [event | {"cause": scenario.cause} for event in found + vanishing]
        ignore += faint
    for trial in run.trials:
        _judge_trial(run, trial, labels, ignore)
    broken = np.array([row.broken for row in run.recording.rows])
    labels += labelling.non_finite(broken, _skipped_by_scaler(run, broken), run.layers)
    return sorted(labels, key=lambda event: int(event["start_step"])), ignore


def _to_the_end(end: int | None, stop: int, steps: int) -> int | None:
    """An event that lasted to where its twin ended lasts, for all that is known."""
    return None if end is None or (end >= stop - 1 and stop < steps) else end


def _judge_trial(run: Run, trial: Trial, labels: list[dict[str, Any]], ignore: list[dict[str, Any]]) -> None:
    before = min((start for start in run.twins if start > trial.step), default=len(run.recording))
    norms, losses = run.recording.norms[trial.step : before], run.recording.losses[trial.step + 1 : before]
    near = norms[: labelling.HARM_STEPS]
    verdict = labelling.spike(near, losses, trial.clipped_losses, trial.median)
    ratio = labelling.loss_ratio(losses, trial.clipped_losses)
    if verdict == "benign" or any(_covers(event, trial.step) for event in labels if event["kind"] == "explosion"):
        return
    if verdict == "harmful":
        labels.append(labelling.natural_label(norms, trial.median, trial.step, ratio) | {"cause": "natural"})
        return
    reason = f"clipping this spike changes the loss of the next {labelling.HARM_STEPS} steps by a factor of {ratio:.3g}"
    ignore.append({"start_step": trial.step, "end_step": trial.step + labelling.HARM_STEPS, "reason": reason})


def _covers(event: dict[str, Any], step: int) -> bool:
    end = event["end_step"]
    return bool(event["start_step"] <= step and (end is None or step <= end + TRIALS_APART))


def _skipped_by_scaler(run: Run, broken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Non-finite steps of a run with a loss scaler after which training went on with finite ones."""
    weights = np.array([row.param_norms for row in run.recording.rows])
    stayed = np.append((weights[1:] == weights[:-1]).all(axis=1), False)
    return stayed & broken.any(axis=1) if run.scaled else np.zeros(len(broken), np.bool_)


def write(run: Run, scenario: Scenario, seed: int, folder: Path) -> str:
    """Label a run and write its trace; the name of it."""
    labels, ignore = label(run, scenario)
    name, rows = f"{scenario.name}_{seed}", run.recording.rows
    np.savez_compressed(
        folder / f"{name}.npz",
        step=np.arange(len(rows), dtype=np.int64),
        global_norm=_single(run.recording.norms),
        loss=run.recording.losses.astype(np.float32),
        lr=np.array([row.lr for row in rows], np.float32),
        clip_coefficient=np.array(run.recording.coefficients, np.float32),
        layer_norms=_rounded(_single(run.recording.layer_norms)),
        param_norms=_rounded(_single(np.array([row.param_norms for row in rows]))),
        requires_grad=np.array([row.requires_grad for row in rows], np.uint8),
    )
    side = {
        "name": name,
        "model": scenario.name,
        "optimizer": run.optimizer,
        "seed": seed,
        "max_norm": run.max_norm,
        "layer_names": run.layers,
        "layer_numel": run.numels,
        "narrative": scenario.narrative,
        "cause": scenario.cause,
        "healthy": not labels,
        "labels": labels,
        "ignore": ignore,
        "evidence": [event["verified"] for event in labels if "verified" in event],
        "steps": len(rows),
    }
    (folder / f"{name}.json").write_text(json.dumps(side, indent=1) + "\n")
    return name


def _single(norms: NDArray[np.float64]) -> NDArray[np.float32]:
    """As float32; what is finite stays finite, as on the wire."""
    largest = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(norms), np.minimum(norms, largest), norms).astype(np.float32)


def _rounded(norms: NDArray[np.float32]) -> NDArray[np.float32]:
    """To 15 bits of mantissa, which compresses to half."""
    mantissa, exponent = np.frexp(norms.astype(np.float64))
    scale = 2.0**MANTISSA_BITS
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)
