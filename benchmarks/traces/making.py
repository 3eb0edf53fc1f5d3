"""Which traces there are to make, and how one is made in whatever process."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import torch

from benchmarks.traces.recording import train, write
from benchmarks.traces.scenarios import SCENARIOS


def chosen(pattern: str) -> list[tuple[int, int]]:
    """Which scenarios, by their number, with which seeds have a name that the pattern fits."""
    every = [(number, seed) for number, scenario in enumerate(SCENARIOS) for seed in scenario.seeds]
    return [(number, seed) for number, seed in every if fnmatch.fnmatch(f"{SCENARIOS[number].name}_{seed}", pattern)]


def make(number: int, seed: int, folder: Path) -> str:
    """Train, label and write one trace on one core; its name."""
    torch.set_num_threads(1)
    return write(train(SCENARIOS[number], seed), SCENARIOS[number], seed, folder)
