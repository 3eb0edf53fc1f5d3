"""Train small networks whose troubles are known, and write labelled traces: NAME.npz with NAME.json."""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.progress import Progress

from benchmarks.report import OUT
from benchmarks.traces.making import chosen, make


def main() -> None:
    """Train what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT / "traces", help="folder for the traces (%(default)s)")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names with this pattern, such as 'e_wall*'")
    parser.add_argument("--jobs", type=int, default=1, help="processes that train at a time, each on one core")
    options = parser.parse_args()
    work = chosen(options.only)
    if not work:
        parser.error(f"no trace has a name like {options.only}")
    options.out.mkdir(parents=True, exist_ok=True)
    spawning = multiprocessing.get_context("spawn")
    with Progress() as progress, ProcessPoolExecutor(options.jobs, mp_context=spawning) as pool:
        task = progress.add_task("training", total=len(work))
        traces = [pool.submit(make, number, seed, options.out) for number, seed in work]
        for trace in as_completed(traces):
            progress.update(task, advance=1, description=f"trained {trace.result()}")
    print(f"{len(work)} traces are in {options.out}")


if __name__ == "__main__":
    main()
