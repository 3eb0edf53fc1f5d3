"""Score detections, as ``gradvitals-service replay`` writes them, against the labels of a folder of traces."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.report import report
from benchmarks.traces.scoring import add, read_labels, rows, score_run


def main() -> None:
    """Score, and say where it went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces.score", description=__doc__)
    parser.add_argument("traces", type=Path, help="folder of NAME.npz and NAME.json")
    parser.add_argument("detections", type=Path, help="what replay --out wrote")
    parser.add_argument("--misses", action="store_true", help="name each miss and each false alarm")
    options = parser.parse_args()
    sides, detections = read_labels(options.traces), json.loads(options.detections.read_text())
    if not sides:
        parser.error(f"there is no labelled trace in {options.traces}")
    tallies = add(score_run(name, side, detections.get(name, ())) for name, side in sides.items())
    steps = next(iter(tallies.values())).healthy_steps
    report("score", f"{len(sides)} runs, {steps:,} healthy steps", rows(tallies))
    if options.misses:
        for kind, tally in tallies.items():
            for name, step in tally.missed:
                print(f"missed  {kind:10} {name} from {step}")
            for name, step in tally.false_alarms:
                print(f"false   {kind:10} {name} at {step}")


if __name__ == "__main__":
    main()
