"""Ask how much a score owes to the constants having been chosen in view of the runs that it is a score of.

Each constant of the detectors is varied by itself: as it is, halved and doubled, thresholds on their log scale. A run,
or all runs of one cause, is left out; the one variation with the fewest mistakes on the other runs is chosen, none
where there is a tie, and judges what was left out. One at a time, because most constants trade misses for false alarms:
the best of each would add up to far more of these than any of them. Healthy runs have no cause, so each stands for
itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rich.progress import Progress

from benchmarks.report import report
from benchmarks.traces.scoring import Tallies, add, read_labels, rows, score_run
from gradvitals_service.health.detectors import explosion, pauses, silence, vanishing
from gradvitals_service.health.replay import judge, read_trace

MODULES: Final = (explosion, vanishing, pauses, silence)

NOT_JUDGING: Final = {"SHARE_TOLD", "MOST_GROUPS_TOLD", "WORTHWHILE", "BLOCK_FRAMES", "ZERO", "RAMP_EVERY"}
"""They say how something is told or counted: another value would be another scale or another format."""

FACTORS: Final = (0.5, 2.0)

Choice = tuple[tuple[str, float], ...]
"""Values of the constants that are not as they are."""

AS_IS: Final[Choice] = ()


def constants() -> dict[str, float]:
    """What the detectors judge by, with the values that they have."""
    found: dict[str, float] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name.isupper() and not name.startswith("_") and number and name not in NOT_JUDGING:
                found[name if name not in found or found[name] == value else f"{_short(module)}.{name}"] = value
    return found


def _short(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[-1]


def variations() -> list[Choice]:
    """As it is, and each constant halved and doubled."""
    varied = [
        ((name, type(value)(max(1, round(value * factor)) if isinstance(value, int) else value * factor)),)
        for name, value in constants().items()
        for factor in FACTORS
    ]
    return [AS_IS, *varied]


@contextmanager
def chosen(choice: Choice) -> Iterator[None]:
    """The detectors judge by these values meanwhile."""
    before = [(module, name, value) for module in MODULES for name, value in vars(module).items()]
    for name, value in choice:
        owner, _, constant = name.rpartition(".")
        for module in MODULES:
            if hasattr(module, constant) and owner in ("", _short(module)):
                setattr(module, constant, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def judged(file: Path, side: Mapping[str, Any], choices: Sequence[Choice]) -> list[Tallies]:
    """One run judged by each choice of constants."""
    trace = read_trace(file)
    tallies = []
    for choice in choices:
        with chosen(choice):
            events = judge(trace)
        detections = [{"kind": event.kind, "start_step": event.start_step} for event in events]
        tallies.append(score_run(file.stem, side, detections))
    return tallies


def best(others: Sequence[Mapping[Choice, Tallies]]) -> Choice:
    """The variation with the fewest mistakes on the other runs; as it is where none has fewer."""
    mistakes = {choice: sum(t.mistakes for run in others for t in run[choice].values()) for choice in others[0]}
    return min(mistakes, key=lambda choice: mistakes[choice])  # the first of the fewest, and as it is comes first


def left_out(tables: Mapping[str, Mapping[Choice, Tallies]], parts: Mapping[str, Hashable]) -> dict[str, Choice]:
    """For each run, what would have been chosen without it and those of the same part."""
    choices = dict[str, Choice]()
    for part in set(parts.values()):
        chosen_without = best([table for name, table in tables.items() if parts[name] != part])
        choices |= {name: chosen_without for name in tables if parts[name] == part}
    return choices


def main() -> None:
    """Vary, leave out, and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.traces.leave_out",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("traces", type=Path, nargs="+", help="folders of NAME.npz and NAME.json")
    parser.add_argument("--jobs", type=int, default=1, help="processes that judge at a time")
    parser.add_argument("--name", default="leave_out", help="name of the JSON in benchmarks/out (%(default)s)")
    options = parser.parse_args()
    sides = {folder / f"{name}.npz": side for folder in options.traces for name, side in read_labels(folder).items()}
    files = list(sides)
    every = variations()
    context = multiprocessing.get_context("spawn")
    with Progress() as progress, ProcessPoolExecutor(options.jobs, mp_context=context) as pool:

        def judge_all(choices: Sequence[Sequence[Choice]], what: str) -> list[list[Tallies]]:
            work = pool.map(judged, files, sides.values(), choices)
            return list(progress.track(work, total=len(files), description=what))

        varied = judge_all([every] * len(files), f"judging by {len(every)} choices")
        tables = {
            file.stem: dict(zip(every, tallies, strict=True)) for file, tallies in zip(files, varied, strict=True)
        }
        by_run = left_out(tables, {name: name for name in tables})
        causes = {file.stem: side["cause"] if side["labels"] else file.stem for file, side in sides.items()}
        by_cause = left_out(tables, causes)
        again = judge_all([(by_run[file.stem], by_cause[file.stem]) for file in files], "judging what was left out")
    everything = [{choice: table[choice] for choice in every} for table in tables.values()]
    table = rows(add(run[AS_IS] for run in everything), scored="as it is")
    table += rows(add(run[0] for run in again), scored="leaving one run out")
    table += rows(add(run[1] for run in again), scored="leaving one cause out")
    changed = [row for choice in every[1:] for row in _if_different(choice, everything)]
    report(options.name, f"{len(files)} runs; constants chosen without what is scored", table)
    if changed:
        report(f"{options.name}_constants", "Constants that change more than delays, each by itself", changed)


def _if_different(choice: Choice, everything: Sequence[Mapping[Choice, Tallies]]) -> list[dict[str, Any]]:
    """A row for each kind whose mistakes are others than as it is."""
    ((name, value),) = choice
    usual, now = add(run[AS_IS] for run in everything), add(run[choice] for run in everything)
    kinds = [
        kind
        for kind in now
        if (now[kind].missed, now[kind].false_alarms) != (usual[kind].missed, usual[kind].false_alarms)
    ]
    return [
        {"constant": name, "as it is": float(constants()[name]), "value": float(value)}
        | {key: row[key] for key in ("kind", "recall", "precision", "false alarms", "median delay")}
        for row in rows({kind: now[kind] for kind in kinds})
    ]


if __name__ == "__main__":
    main()
