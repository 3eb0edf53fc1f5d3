"""From measured numbers to rows of the report. Pure."""

import math
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def row(figure: str, unit: str, values: Sequence[float], target: float | None, told: str = "p50") -> Row:
    """One line: the middle, the 99th percentile and the worst; ``told`` names the one that the target is for."""
    found = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "worst": max(values)} if values else {}
    met = None if target is None or told not in found else "yes" if found[told] <= target else "NO"
    spread = {name: found.get(name) for name in ("p50", "p99", "worst")}
    return {"figure": figure, "unit": unit, "n": len(values), **spread, "target": target, "of": told, "met": met}
