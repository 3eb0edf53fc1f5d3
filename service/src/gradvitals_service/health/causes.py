"""Guess why an event happened, from what the frames up to the alarm say. Pure.

Each rule names one observation and what it usually means; the first that finds its observation speaks, so they stand
from the most to the least telling. Where none does there is no guess. A guess begins with "perhaps", since the frames
say what happened first and never why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradvitals_service.health.detectors.calm_blocks import BLOCK_FRAMES
from gradvitals_service.health.detectors.explosion import (
    HARM_MARGIN,
    LEVEL_FRAMES,
    LR_JUMP,
    UNHEARD_OF,
    WATCH_FRAMES,
)
from gradvitals_service.health.detectors.vanishing import FALLEN, START_SHARE, START_UNTIL
from gradvitals_service.health.onset import KNOWN_FRAMES, Onset, usual

RECENT = WATCH_FRAMES
"""Steps within which a change is recent: so long after an update the detector lays a worse loss at its door."""

LR_GROWN = 2.0
"""A learning rate that only ever rose over the frames looked at, to twice what it was, is still being raised."""

LARGE = 10.0
"""A norm so many times its usual is a jump rather than a drift, and its update one that can spoil units."""

LIMIT_RAISED = 2.0
"""A clip threshold that is raised by less than this hardly lets more through."""

FIRST_FRAMES = 16
"""A run that breaks within its first steps brought the reason with it: nothing has been learned yet."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What may have happened, what to do about it, and whether that includes going back to a checkpoint."""

    cause: str
    advice: str
    resume: bool = False


Rule = Callable[[Onset], Guess | None]


def guess(onset: Onset) -> Guess | None:
    """The first rule that has something to go by."""
    for rule in RULES.get(onset.kind, ()):
        found = rule(onset)
        if found is not None:
            return found
    return None


def guess_of_ranks(ranks: Sequence[int], world_size: int, batch_ids: Sequence[str]) -> Guess | None:
    """Some ranks alone had a loss or a part that was not finite: the data of each is its own, the model is shared."""
    if not 0 < len(ranks) < world_size:
        return None
    named = f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
    at = f"batch {', '.join(batch_ids)} of {named}" if batch_ids else f"what {named} got at this step"
    return Guess(f"perhaps: the data or the machine of {named}, where alone it was not finite", f"look at {at}", True)


def _scaler(onset: Onset) -> Guess | None:
    """A step that a loss scaler skipped: it looks for its limit by going beyond it."""
    if not onset.skipped[-1] or not onset.loss_scale[-1] > 1.0 or onset.loss_is_bad[-1]:
        return None
    scale = f"{onset.loss_scale[-1]:g}"
    row = _last_row(onset, onset.loss_scale[1:] > onset.loss_scale[:-1])
    if row is not None:
        cause = f"perhaps: the loss scale, which grew to {scale} at step {onset.step[row]}"
    elif onset.frame[-1] < LEVEL_FRAMES:
        cause = f"perhaps: the loss scale of {scale}, which is still being fitted"
    else:
        cause = f"perhaps: a gradient beyond what half precision holds at the loss scale of {scale}"
    return Guess(cause, "nothing, as long as it does not repeat: the step was skipped and the scale is lowered")


def _learning_rate_jumped(onset: Onset) -> Guess | None:
    """A rate three times what it was explains a longer step better than any data does."""
    row = _lr_jump(onset)
    if row is None:
        return None
    before = float(np.nanmax(onset.lr[:row]))
    change = f"rose from {before:g} to {onset.lr[row]:g} at step {onset.step[row]}"
    return Guess(f"perhaps: the learning rate, which {change}", "lower the learning rate", resume=True)


def _limit_raised(onset: Onset) -> Guess | None:
    """Clipping that lets more through, right before more came through."""
    limit = onset.max_norm
    row = _last_row(onset, limit[1:] > LIMIT_RAISED * limit[:-1])
    if row is None or not onset.global_norm[onset.began] > limit[row - 1]:
        return None
    now = "taken away" if np.isinf(limit[row]) else f"raised to {limit[row]:g}"
    cause = f"perhaps: the clip threshold of {limit[row - 1]:g}, which was {now} at step {onset.step[row]}"
    return Guess(cause, f"clip at {limit[row - 1]:g} again", resume=True)


def _from_the_start(onset: Onset) -> Guess | None:
    """Nothing was learned yet, so it lies in what the run began with."""
    if onset.frame[onset.began] >= FIRST_FRAMES or onset.step[onset.began] >= FIRST_FRAMES:
        return None
    return Guess(
        "perhaps: the initialisation, or a learning rate that is too high for it: it broke within the first steps",
        "check the scale of the initial weights, or begin with a lower learning rate",
    )


def _exploded_before(onset: Onset) -> Guess | None:
    """The norm had left its level for good reason or none before it overflowed."""
    since = max(onset.began - RECENT, 0)
    limit = usual(onset.global_norm, since) * np.exp(UNHEARD_OF)
    high = np.flatnonzero(onset.global_norm[since : onset.began] > limit)
    if not len(high):
        return None
    step = onset.step[since + int(high[0])]
    return Guess(
        f"perhaps: an explosion, which went before: the norm was above thirty times its usual from step {step} on",
        "lower the learning rate or max_norm",
        resume=True,
    )


def _loss_not_finite(onset: Onset) -> Guess | None:
    """The loss of this step was computed with weights that the norms before call healthy."""
    if not onset.loss_is_bad[-1]:
        return None
    at = _the_batch(onset.batch_id, f"the batch of step {onset.step[-1]}")
    return Guess(
        "perhaps: the data of this step or the loss function at the edge of its domain (a log or a division by 0): the "
        "loss was not finite while the steps before were as usual",
        f"look at {at}, and at what the loss makes of it",
        resume=not onset.skipped[-1],
    )


def _backward_not_finite(onset: Onset) -> Guess | None:
    """A finite loss whose gradient is not: a derivative that has no finite value where its function has."""
    if np.isnan(onset.loss[-1]):
        return None
    where = f" of {onset.first_layer}" if onset.first_layer else ""
    at = _the_batch(onset.batch_id, f"the batch of step {onset.step[-1]}")
    return Guess(
        f"perhaps: an operation behind the parameters{where} whose derivative is not finite (a root, norm or log at 0, "
        "a division): the loss was finite and the gradient was not",
        f"look at {at}, and add an epsilon to that operation",
        resume=not onset.skipped[-1],
    )


def _loss_first(onset: Onset) -> Guess | None:
    """Loss and norm rose together at one blow, after an ordinary update. Losses are measured with the weights from
    before, so it is what this step was given, or the weights were changed by others. For one network the gradient grows
    about as the loss does; where it grew far more, the place was steep."""
    times, loss_times = _times(onset)
    if not (_loss_is_worse(onset) and times >= LARGE and loss_times >= np.sqrt(times)):
        return None
    at = _the_batch(onset.batch_id, f"the batch of step {onset.step[onset.began]}")
    return Guess(
        "perhaps: the data of this step, or weights that something other than the optimizer changed: the loss rose "
        "together with the norm, after an ordinary update",
        f"look at {at}, and at what the script did to the model before it",
        resume=True,
    )


def _learning_rate_grown(onset: Onset) -> Guess | None:
    """Still being raised, and as high as never before: the steps have become too long for where the run is."""
    lr = onset.lr[: onset.began + 1]
    if len(lr) < KNOWN_FRAMES or not (np.diff(lr) >= 0.0).all() or not lr[-1] >= LR_GROWN * lr[0]:
        return None
    change = f"rising, from {lr[0]:g} to {lr[-1]:g} over the last {len(lr)} steps"
    return Guess(f"perhaps: the learning rate, which is still {change}", "let it rise to a lower value", resume=True)


def _norm_first(onset: Onset) -> Guess | None:
    """The loss of that step was near its usual, so the data was; the gradient at this place was not. Or both crept up
    over some steps, as data does not."""
    if not _losses_known(onset) or onset.loss_is_bad[onset.began] or np.isnan(onset.loss[onset.began]):
        return None
    times, loss_times = _times(onset)
    crept = times < LARGE
    if _loss_is_worse(onset) and not crept and not loss_times < np.sqrt(times):
        return None
    where = f", first in {onset.first_layer}," if onset.first_layer else ""
    how = f"step by step from step {onset.step[onset.began]} on" if crept else "before the loss"
    return Guess(
        f"perhaps: steps too long for a steep place of the loss: the norm rose{where} {how}",
        "lower the learning rate or max_norm",
        resume=True,
    )


def _updates_before(onset: Onset) -> Guess | None:
    """Units saturate or die by an update that was far too large."""
    level = usual(onset.global_norm, len(onset.global_norm), len(onset.global_norm))
    worst = int(np.argmax(np.nan_to_num(onset.global_norm)))
    jump = _lr_jump(onset, within=len(onset.lr))
    if jump is not None:
        what = f"the learning rate, which rose to {onset.lr[jump]:g} at step {onset.step[jump]}"
    elif onset.global_norm[worst] > level * LARGE:
        times = f"{onset.global_norm[worst] / level:.2g} times the usual norm"
        what = f"the update of step {onset.step[worst]}, which had {times}"
    else:
        return None
    return Guess(f"perhaps: {what} and drove units into saturation", "lower the learning rate", resume=True)


def _dead_from_the_start(onset: Onset) -> Guess | None:
    """Never more than a thousandth of the strongest group's gradient, since the first step."""
    norms = onset.group_norms
    if onset.frame[0] != 0 or len(norms) > START_UNTIL * BLOCK_FRAMES or not norms.shape[1]:
        return None
    largest = np.nan_to_num(norms).max(axis=0)
    if not (largest < np.exp(START_SHARE) * largest.max()).any():
        return None
    return Guess(
        "perhaps: depth, initialisation or activations that saturate: these layers got less than a thousandth of the "
        "strongest one's gradient from the first step on",
        "look at the initial weights and the activations; normalisation or residual branches carry gradient further",
    )


def _stopped_at_once(onset: Onset) -> Guess | None:
    """From one step to the next: no learning does that, something was cut off, or its units died together."""
    norms = np.nan_to_num(onset.group_norms)
    for row in range(len(norms) - 1, KNOWN_FRAMES, -1):
        before, after = norms[row - KNOWN_FRAMES : row], norms[row:]
        gone = after.max(axis=0) < before.min(axis=0) / np.exp(FALLEN)
        if gone.any() and not gone.all():
            return _cut_off(onset, row)
    return None


def _cut_off(onset: Onset, row: int) -> Guess:
    return Guess(
        "perhaps: units that died or saturated together, or a branch that was cut off: the gradient of these layers "
        f"stopped from one step to the next, at step {onset.step[row]}",
        f"look at what changed in the model or its input at step {onset.step[row]}",
        resume=True,
    )


def _last_row(onset: Onset, changed: np.ndarray[tuple[int], np.dtype[np.bool_]], within: int = RECENT) -> int | None:
    """The newest of the recent rows that ``changed``, which begins with row 1, is true of."""
    rows = np.flatnonzero(changed) + 1
    rows = rows[(rows <= onset.began) & (rows >= onset.began - within)]
    return int(rows[-1]) if len(rows) else None


def _lr_jump(onset: Onset, within: int = RECENT) -> int | None:
    """The newest recent row whose learning rate is three times that of all rows before."""
    rates = np.nan_to_num(onset.lr)
    highest = np.maximum.accumulate(rates)
    return _last_row(onset, (rates[1:] > LR_JUMP * highest[:-1]) & (highest[:-1] > 0.0), within)


def _times(onset: Onset) -> tuple[float, float]:
    """How many times their usual the norm and the loss of the first bad step were; NaN where that cannot be said, as of
    a loss that is below 0."""
    norm, loss = (values[onset.began] / usual(values, onset.began) for values in (onset.global_norm, onset.loss))
    return float(norm), np.inf if onset.loss_is_bad[onset.began] else float(loss)


def _losses_known(onset: Onset) -> bool:
    return bool(np.isfinite(onset.loss[max(onset.began - LEVEL_FRAMES, 0) : onset.began]).sum() >= KNOWN_FRAMES)


def _loss_is_worse(onset: Onset) -> bool:
    """Beyond all losses lately by half of what they stray: as the detector says of harm."""
    if not _losses_known(onset):
        return False
    before = onset.loss[max(onset.began - LEVEL_FRAMES, 0) : onset.began]
    middle, highest = float(np.nanmedian(before)), float(np.nanmax(before))
    return bool(onset.loss_is_bad[onset.began] or onset.loss[onset.began] > middle + HARM_MARGIN * (highest - middle))


def _the_batch(batch_id: str | None, else_said: str) -> str:
    return f"batch {batch_id}" if batch_id else else_said


RULES: dict[str, tuple[Rule, ...]] = {
    "explosion": (
        _learning_rate_jumped,
        _limit_raised,
        _from_the_start,
        _loss_first,
        _learning_rate_grown,
        _norm_first,
    ),
    "non_finite": (
        _scaler,
        _learning_rate_jumped,
        _from_the_start,
        _exploded_before,
        _loss_not_finite,
        _backward_not_finite,
    ),
    "vanishing": (_updates_before, _dead_from_the_start, _stopped_at_once),
}
