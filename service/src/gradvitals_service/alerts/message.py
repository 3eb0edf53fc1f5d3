"""Word an alert: what broke, how badly, since when, where, and what to do next.

Pure. The text is plain and meant for any channel, so names that people chose are made harmless: no line breaks, no
control or direction characters, no mentions that would wake a whole chat.
"""

import math
import re
import unicodedata
from dataclasses import dataclass

from gradvitals_service.checkpoints.judgement import Resume
from gradvitals_service.health.models import Event
from gradvitals_service.runs.models import Run

MOST_LAYERS = 10
_NAME_LENGTH = 120
_TITLE_LENGTH = 250
_PATH_LENGTH = 4096

_TITLES = {
    "vanishing": "vanishing gradients",
    "non_finite": "non-finite gradients",
    "clip_saturation": "a threshold that clips every step",
}
_WEIGHTS_ARE_WELL = {"vanishing", "clip_saturation"}  # going back to a checkpoint would help nobody
_CHAT_MENTION = re.compile(r"@(?=everyone|here|channel|all)|<(?=[!@#])", re.IGNORECASE)
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories: controls, formats, surrogates, separators


@dataclass(frozen=True, slots=True)
class Message:
    """One alert, ready to send; ``title`` is one line."""

    title: str
    body: str


def compose(event: Event, run: Run, project: str, url: str, resume: Resume | None = None) -> Message:
    """Word the alert for a newly opened ``event``; ``url`` is where the run can be seen.

    ``resume`` says which checkpoint to go on from, None where no checkpoint is known.
    """
    title = f'[gradvitals] {_TITLES.get(event.kind, event.kind)} in "{plain(run.name)}" ({plain(project)})'
    lines = [
        f"{plain(event.message, 1024)}.",
        f"Since step {event.start_step}{_monitor(event)}{_rank(event)}, noticed {event.opened_at:%Y-%m-%d %H:%M} UTC.",
        f"How bad: {_how_bad(event)}.",
        *_why(event),
        f"Layers: {_layers(event.layers)}.",
        f"Now: step {_figure(run.last_step)}, global norm {_figure(run.global_norm)}, loss {_figure(run.loss)}, "
        f"max_norm {_threshold(run.max_norm)}.",
        f"Owner: {plain(run.owner) if run.owner else 'unknown'}.",
        f"Run: {url}",
        f"Next: {_next_step(event, run, resume)}",
        *_checkpoint(event, resume),
    ]
    return Message(f"{title[:_TITLE_LENGTH]} at step {event.start_step}", "\n".join(lines))


def plain(text: str, length: int = _NAME_LENGTH) -> str:
    """One harmless line of at most ``length`` characters."""
    visible = "".join(" " if unicodedata.category(character) in _UNSEEN else character for character in text)
    line = _CHAT_MENTION.sub(lambda mention: f"{mention.group()} ", " ".join(visible.split()))
    return line if len(line) <= length else f"{line[: length - 3]}..."


def _monitor(event: Event) -> str:
    return "" if event.monitor == "main" else f" of monitor {plain(event.monitor)}"


def _rank(event: Event) -> str:
    return "" if event.rank == 0 else f" on rank {event.rank}"


def _how_bad(event: Event) -> str:
    if event.kind == "clip_saturation":
        return f"a typical step keeps {_figure(event.times_usual)} of its size"
    peak = f"peak {_figure(event.peak)}" if event.peak is not None else "no peak known"
    if event.times_usual is None or event.usual is None:
        return peak
    return f"{_figure(event.times_usual)} times the usual {_figure(event.usual)}, {peak}"


def _why(event: Event) -> list[str]:
    """The guess, which says itself that it is one."""
    if event.cause is None:
        return []
    then = f"; if so, {plain(event.action, 1024)}" if event.action else ""
    return [f"Why: {plain(event.cause, 1024)}{then}."]


def _layers(layers: list[str]) -> str:
    if not layers:
        return "not known"
    named = ", ".join(plain(layer) for layer in layers[:MOST_LAYERS])
    more = len(layers) - MOST_LAYERS
    return f"{named} and {more} more" if more > 0 else named


def _figure(value: float | None) -> str:
    """Four digits are enough at 3 am."""
    if value is None:
        return "unknown"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _threshold(max_norm: float | None) -> str:
    return "off" if max_norm is None or math.isinf(max_norm) else _figure(max_norm)


def _next_step(event: Event, run: Run, resume: Resume | None) -> str:
    first = event.start_step
    again = _again(first, resume)
    if event.kind == "non_finite":
        return f"take the weights for spoiled from step {first} on; {again}."
    if event.kind == "vanishing":
        return "look at these layers' inputs and initialisation, and at the learning rate; they have stopped learning."
    if event.kind == "clip_saturation":
        return "take a larger max_norm; where steps of one length are meant, the learning rate alone sets it."
    if event.kind == "instability":
        return "save a checkpoint now, and lower the learning rate or max_norm before it explodes."
    if _threshold(run.max_norm) == "off" and event.usual is not None and math.isfinite(event.usual):
        return f"clip: a max_norm a few times the usual {_figure(event.usual)} stops this; {again}."
    return f"if the loss does not come back by itself, {again} with a lower learning rate or max_norm."


def _again(first: int, resume: Resume | None) -> str:
    if resume is None and first > 0:
        return f"resume from a checkpoint from before step {first}"
    if resume is None or resume.newest_clean is None:
        return "start again"
    return f"resume from step {resume.newest_clean.step}"


def _checkpoint(event: Event, resume: Resume | None) -> list[str]:
    """The line that says which checkpoint, where that helps; the path stands alone, to be copied."""
    if resume is None or event.kind in _WEIGHTS_ARE_WELL:
        return []
    if resume.newest_clean is None:
        return [f"Checkpoint: none that is known ({resume.not_clean}) is clean."]
    later = f" (newer ones that are not clean: {resume.not_clean})" if resume.not_clean else ""
    return [f"Checkpoint: {plain(resume.newest_clean.path, _PATH_LENGTH)}{later}"]
