"""The runs that are trained, by what they are meant to show; what they do show is measured."""

from benchmarks.traces.recording import Scenario
from benchmarks.traces.scenarios import broken, exploding, healthy, vanishing

SCENARIOS: tuple[Scenario, ...] = (
    *exploding.SCENARIOS,
    *vanishing.SCENARIOS,
    *broken.SCENARIOS,
    *healthy.SCENARIOS,
)

__all__ = ["SCENARIOS"]
