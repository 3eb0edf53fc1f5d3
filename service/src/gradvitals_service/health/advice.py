"""Suggest a clip threshold from a run's own healthy norms, with the reason in words.

Pure. One rule: the smallest threshold of two digits that leaves 99 of 100 healthy steps as they are. Where the norms do
not carry a number, the reason says why there is none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gradvitals_service.series.sketch import NormSketch

UNTOUCHED = 0.99
"""Share of the healthy steps that the suggestion leaves as they are. A threshold is an insurance: the healthy steps
show what the training needs, so it should rarely meddle with them, and an explosion lies far above (ten times the level
at least). The 90 % of Google's tuning playbook and the lower percentiles of AutoClip are for a run that stays unstable;
their clip rates can be asked for."""

LEAST_HEALTHY = 200
"""Healthy steps below which there is no suggestion: two of them may then lie above it, and one would be a chance."""

MOSTLY = 0.5
"""Share of clipped steps from which on the threshold has become the learning rate: the usual step is a clipped one, so
that its norm says nothing about how the run would go without."""

NOTICEABLY = 0.95
"""An effective learning rate below this share of the one that was set is worth a word."""

FAR = 30.0
"""How many times above the usual newest norm a suggestion is too far for what is left of the run, be it that norms have
fallen or that they come in bursts: from there on a single norm is an explosion for the detectors, too."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest frames of a run; numbers are medians over them, NaN where none is known."""

    frames: int
    global_norm: float
    max_norm: float  # in force now; infinite where norm clipping is off
    clip_rate: float
    lr: float
    effective_lr: float  # of learning rate times clip coefficient


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a run's norms: of all frames, of the healthy ones, and the peaks of its explosions."""

    norms: NormSketch
    healthy: NormSketch
    newest: Newest
    explosions: Sequence[float] = field(default=())


@dataclass(frozen=True, slots=True)
class Advice:
    """A threshold, or None, and why."""

    max_norm: float | None
    reason: str


def advise(history: History) -> Advice:
    """The threshold that suits a run."""
    if reason := _why_not(history):
        return Advice(None, reason)
    known = history.healthy.quantile(UNTOUCHED)
    if not 0.0 < known < math.inf:
        return Advice(None, "there is nothing to clip: the norms of nearly all healthy steps are zero or without end")
    max_norm = round_up(known)
    return Advice(max_norm, _reason(history, known, max_norm))


def _why_not(history: History) -> str | None:
    norms, healthy, newest = history.norms, history.healthy, history.newest
    frames = norms.measured + norms.non_finite + norms.already_clipped
    if not frames:
        return "no step of this run is known yet"
    if norms.already_clipped > MOSTLY * frames:
        share = f"{norms.already_clipped / frames:.0%}"
        return (
            f"the gradients of {share} of the steps were clipped before they were measured, so that their norms are not"
            " known: remove the other clip, and look again"
        )
    if healthy.measured < LEAST_HEALTHY:
        return (
            f"only {healthy.measured} healthy steps are known, of {frames}; a threshold can be told from"
            f" {LEAST_HEALTHY} on"
        )
    return _clipped_too_often(healthy, newest)


def _clipped_too_often(healthy: NormSketch, newest: Newest) -> str | None:
    """Whether the present threshold is part of the learning rate, by the newest steps or by all healthy ones."""
    of_healthy = healthy.above(newest.max_norm)[0] / healthy.measured
    if newest.clip_rate > MOSTLY:
        bites = f"{newest.clip_rate:.0%} of the newest {newest.frames} steps"
    elif of_healthy > MOSTLY:
        bites = f"{of_healthy:.0%} of the healthy steps"
    else:
        return None
    lowered = newest.effective_lr < NOTICEABLY * newest.lr
    usual = f": the usual step is made with {newest.effective_lr:.2g} in place of {newest.lr:.2g}" if lowered else ""
    at = f" at {newest.max_norm:.6g}" if math.isfinite(newest.max_norm) else ""
    return (
        f"the clip{at} bites on {bites}, so it has become part of the learning rate{usual}. Another threshold would be"
        " another learning rate. Set the learning rate to what you want of it first, and then the threshold above the"
        " norms that are usual with it"
    )


def _reason(history: History, known: float, max_norm: float) -> str:
    healthy = history.healthy
    half = healthy.quantile(0.5)
    clipped = _share(healthy.above(max_norm)[0], healthy.measured)
    reason = (
        f"half of the {healthy.measured} healthy steps have a norm of at most {half:.3g}, 99 of 100 have"
        f" one of at most {known:.3g}. {max_norm:g} would have clipped {clipped} of them"
    )
    if history.explosions:
        reason += f", {_caught(history.explosions, max_norm)}"
    newest = history.newest
    if math.isfinite(newest.max_norm):
        present = _share(healthy.above(newest.max_norm)[0], healthy.measured)
        reason += f". The present threshold of {newest.max_norm:.6g} clips {present}"
    if max_norm > FAR * newest.global_norm > 0.0:
        times = float(f"{max_norm / newest.global_norm:.2g}")
        reason += (
            f". The newest steps usually have {newest.global_norm:.2g}: a jump there of up to"
            f" {times:,.0f} times is not clipped, so see what lower thresholds do"
        )
    return reason


def _caught(explosions: Sequence[float], max_norm: float) -> str:
    caught, of = sum(peak > max_norm for peak in explosions), len(explosions)
    if of == 1:
        return "and the one explosion" if caught else "but not the one explosion"
    if caught in (0, of):
        return f"and all {of} explosions" if caught else f"but none of the {of} explosions"
    return f"and {caught} of the {of} explosions"


def _share(count: int, of: int) -> str:
    share = 100.0 * count / of
    return "none" if not count else f"{share:.2g} %" if share >= 0.01 else "less than 0.01 %"


def round_up(norm: float) -> float:
    """The next number of two significant digits."""
    digits, exponent = f"{norm:.2e}".split("e")
    tenths = -(-int(digits.replace(".", "")) // 10)
    return float(f"{tenths}e{int(exponent) - 1}")
