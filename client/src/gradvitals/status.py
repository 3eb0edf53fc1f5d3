"""Say what is in the spool, and what is sent of a run at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gradvitals.announce import counted
from gradvitals.leftovers import Leftover, LeftoverFrames, find_leftovers
from gradvitals.syncing import name_of

WHAT = """\
Sent to your service, and to nobody else:
  once a run       the names of project, run, group, owner and tags; config (keys that look like secrets are left out);
                   links; the versions of gradvitals, Python and torch
  once a process   host name, process id, rank, when it started
  every 5 seconds  whether it runs or is paused, its last step, how many frames were made, what measuring costs
  once a model     each layer's name, shape, size, dtype, parameter group
  every step       its number and time; the gradients' norm, and each layer's; clip coefficient and threshold; learning
                   rate; loss and other numbers given to run.log; on a bad step how many values were NaN or infinite
  every 64 steps   the norm of each layer's weights
  checkpoints      the path, step and time given to run.saved; the file is not opened
Never sent: weights, gradients, data, code, command lines, environment variables. There is no telemetry.
On disk the same is kept until it is sent, readable by you only."""


def show_status(root: Path, say: Callable[[str], None]) -> int:
    """Say, attempt by attempt, what is spooled."""
    if root.exists() and not (root.is_dir() and os.access(root, os.R_OK | os.X_OK)):
        say(f"{root}: is no folder that can be read")
        return 1
    leftovers = list(find_leftovers(root))
    if not leftovers:
        say(f"{root}: nothing is spooled")
        return 0
    total = sum(leftover.nbytes for leftover in leftovers)
    say(f"{root}: {counted(len(leftovers), 'attempt')}, {_size(total)}")
    for leftover in leftovers:
        say(f"  {describe(leftover)}")
    return 0


def describe(leftover: Leftover) -> str:
    """One line on what an attempt has left."""
    frames = LeftoverFrames(leftover)
    counts = frames.counts().values()
    waiting, lost = sum(count.waiting for count in counts), sum(count.lost for count in counts)
    parts = [counted(waiting, "frame") + " to send", _size(leftover.nbytes)]
    parts += [f"{counted(lost, 'frame')} lost"] if lost else []
    parts += [counted(frames.damaged, "damaged record")] if frames.damaged else []
    return (
        f"{name_of(leftover)}, project {leftover.run.body.get('project', '?')!r}: {', '.join(parts)}; {_life(leftover)}"
    )


def _life(leftover: Leftover) -> str:
    ago = _age(leftover.age_seconds)
    if leftover.is_alive and not leftover.has_ended:
        sends = leftover.attempt is not None and leftover.attempt.sends
        return f"running, {'sends it itself' if sends else 'offline'}, last written {ago} ago"
    state = "ended without a word"
    if leftover.attempt is not None and leftover.attempt.body.get("state") in ("finished", "failed"):
        state = str(leftover.attempt.body["state"])
    elif not leftover.has_ended:
        state = "silent"
    return f"{state}, last written {ago} ago"


def _age(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(int(seconds), "second")


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f} MiB" if nbytes >= 1 << 20 else f"{nbytes / 1024:,.1f} KiB"
