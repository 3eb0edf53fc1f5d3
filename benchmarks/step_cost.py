"""What is added to a whole training step: by torch's clip, by ours with every layer measured, and by known trackers?

Live loops: each turn runs forward and backward, so that gradients are new tensors and the caches hold what a training
leaves in them. What is added is what clipping and stepping takes after the backward pass, less the bare step; nothing
else of the step differs. The trackers change the backward pass, so their whole step is timed. Ways take turns (see
``benchmarks.race``). The batches are small: in a real training all shares of the step are smaller.

wandb and TensorBoard are measured where they can be imported: histograms of all gradients on each step (log_freq=1).
They do not clip, so it is our step that measures and does not clip which is set beside theirs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

import gradvitals
from benchmarks.models import SHAPES, Shape
from benchmarks.race import Times, Way, race
from benchmarks.report import report

TRACKED = "foreach SGD"
KINDS = ("fused AdamW", TRACKED)
NEAR, FAR = 1e-6, 1e6  # limits that always and never clip; with such a learning rate the gradients stay what they are
LEARNING_RATE = 1e-9


class Loop:
    """One network on one batch, stepped by any optimizer."""

    def __init__(self, shape: Shape) -> None:
        torch.manual_seed(0)
        self.model, self._batch = shape.build(), shape.batch()
        self.parameters = list(self.model.parameters())

    def forget(self) -> None:
        """Drop the gradients, as ``zero_grad`` does."""
        for parameter in self.parameters:
            parameter.grad = None

    def backward(self) -> None:
        """One forward and backward pass."""
        self.forget()
        self.model(self._batch).square().mean().backward()

    def optimizer(self, kind: str) -> Optimizer:
        """A new optimizer of all parameters."""
        if kind == "fused AdamW":
            return AdamW(self.parameters, lr=LEARNING_RATE, fused=True)
        return SGD(self.parameters, lr=LEARNING_RATE, foreach=True)


def ways_to_step(loop: Loop, kind: str, run: gradvitals.Run) -> dict[str, Way]:
    """The bare step, and the steps with a clip, each after a backward pass that is not timed."""
    plain, watched = loop.optimizer(kind), loop.optimizer(kind)
    loop.backward()
    plain.step()
    watched.state = plain.state  # one for both: memory is not equally fast everywhere, and a state may be a gigabyte
    monitor = run.watch(loop.model, watched, max_norm=NEAR)

    def clip_and_step() -> None:
        nn.utils.clip_grad_norm_(loop.parameters, NEAR)
        plain.step()

    def backward_then(max_norm: float) -> Callable[[], None]:
        def prepare() -> None:
            monitor.max_norm = max_norm
            loop.backward()

        return prepare

    return {
        "backward": Way(loop.backward, loop.forget),
        "bare": Way(plain.step, loop.backward),
        "torch's clip": Way(clip_and_step, loop.backward),
        "ours, clipping": Way(watched.step, backward_then(NEAR)),
        "ours, not clipping": Way(watched.step, backward_then(FAR)),
    }


def ways_to_track(shape: Shape, folder: str, leave: contextlib.ExitStack) -> dict[str, Way]:
    """Whole steps that draw histograms of all gradients, by each tracker that is installed, on a network of its own."""
    ways = {}
    with contextlib.suppress(ImportError):
        import wandb  # type: ignore[import-not-found,unused-ignore]  # not a dependency

        session = leave.enter_context(
            wandb.init(project="benchmark", mode="offline", dir=folder, settings=wandb.Settings(silent=True))
        )
        watched = Loop(shape)
        wandb_optimizer = watched.optimizer(TRACKED)
        session.watch(watched.model, log="gradients", log_freq=1)

        def step_with_wandb() -> None:
            watched.backward()
            session.log({"loss": 1.0})
            wandb_optimizer.step()

        ways["wandb"] = Way(step_with_wandb, watched.forget)
    with contextlib.suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        writer = leave.enter_context(SummaryWriter(folder))
        drawn = Loop(shape)
        drawn_optimizer = drawn.optimizer(TRACKED)
        names = [name for name, _ in drawn.model.named_parameters()]

        def step_with_tensorboard() -> None:
            drawn.backward()
            for name, parameter in zip(names, drawn.parameters, strict=True):
                writer.add_histogram(name, parameter.grad)
            drawn_optimizer.step()

        ways["tensorboard"] = Way(step_with_tensorboard, drawn.forget)
    return ways


def measure(shape: Shape, rounds: int) -> list[dict[str, Any]]:
    """A row for each optimizer. The trackers are so slow that a few rounds tell; they race the bare step with SGD."""
    rows = []
    loop = Loop(shape)
    for kind in KINDS:
        added: dict[str, float] = {}
        with contextlib.ExitStack() as leave:
            run = leave.enter_context(
                gradvitals.init(project="benchmark", name="step cost", url=gradvitals.MemoryTransport())
            )
            ways = ways_to_step(loop, kind, run)
            times = race(ways, rounds)
            if kind == TRACKED:
                trackers = ways_to_track(shape, leave.enter_context(tempfile.TemporaryDirectory()), leave)
                steps = {name: ways[name] for name in ("backward", "bare")}
                slow = race(trackers | steps, max(rounds // 10, 3), warm_up=1)
                added = {name: slow[name].beyond(slow["backward"], slow["bare"]) for name in trackers}
            rows.append(compare(shape, kind, times, added))
    return rows


def compare(shape: Shape, kind: str, times: Mapping[str, Times], added: Mapping[str, float]) -> dict[str, Any]:
    """What each way adds, in seconds of the step, to what torch's clip and the trackers add."""
    bare, backward = times["bare"], times["backward"]
    whole = backward.median + bare.median
    torchs = times["torch's clip"].beyond(bare)
    clipping, quiet = (times[f"ours, {how}"].beyond(bare) for how in ("clipping", "not clipping"))
    trackers = {name: added.get(name) for name in ("wandb", "tensorboard")}
    return {
        "network": shape.title,
        "step of": kind,
        "bare step, ms": whole * 1e3,
        "torch's clip adds, ms": torchs * 1e3,
        "share of the step": torchs / whole,
        "ours, clipping": clipping / torchs,
        "ours, not clipping": quiet / torchs,
        **{f"{name} adds, ms": adds and adds * 1e3 for name, adds in trackers.items()},
        **{f"ours / {name}'s": adds and quiet / adds for name, adds in trackers.items()},
    }


def main() -> None:
    """Measure the networks that were asked for, one after the other, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this network; may be given again")
    parser.add_argument("--rounds", type=int, help="of each way, instead of the network's own number")
    arguments = parser.parse_args()
    os.environ.setdefault("GRADVITALS_QUIET", "1")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in arguments.shape or SHAPES:
        rows += measure(SHAPES[name], arguments.rounds or SHAPES[name].live_rounds)
    report("step_cost", "Added to a training step, to what torch's clip adds (CPU time of the training thread)", rows)


if __name__ == "__main__":
    main()
