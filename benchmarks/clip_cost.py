"""What does it cost to clip with us, every layer measured, beside torch's own clip, which measures nothing?

Four networks, on each the same gradients for every variant; variants take turns (see ``benchmarks.race``). Each of our
steps records a frame with all layer norms, for a run whose sender is at work. Before each turn, outside the timing, the
gradients are written anew: every variant finds them as large, and as warm in the caches, as the others do.

A figure is the median over the rounds of our time divided by torch's. The first row of a network is torch's clip
measured twice: as far as that is from 1, so far may a figure be off. Beside torch's clip_grad_value_, which measures
nothing at all, not even one norm, there is no target. The norms of the weights, measured every 64th frame, do not reach
a median.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

import gradvitals
from benchmarks.models import SHAPES, Shape
from benchmarks.race import Times, Way, race
from benchmarks.report import report

NEVER_SLOWER = 1.02
HOOK = {"gru": 0.50, "resnet50": 0.57, "gpt124m": 0.57, "tiny1000": 0.60}
FOLDED = {"gru": 0.85, "resnet50": 0.88, "gpt124m": 0.88, "tiny1000": 0.88}


@dataclass(frozen=True, slots=True)
class Contest:
    """A way of ours and torch's way to the same end."""

    name: str
    ours: str
    torchs: str
    targets: Mapping[str, float] | None = None

    def target(self, shape: str) -> float | None:
        return NEVER_SLOWER if self.targets is None else self.targets.get(shape)


CONTESTS = (
    Contest("torch's clip_grad_norm_, to itself", "clip_grad_norm_ again", "clip_grad_norm_", {}),
    Contest("monitor.clip_(), not clipping", "clip_, not clipping", "clip_grad_norm_", HOOK),
    Contest("monitor.clip_(), clipping", "clip_, clipping", "clip_grad_norm_"),
    Contest("clip_grad_norm_, not clipping", "function, not clipping", "clip_grad_norm_"),
    Contest("clip_grad_norm_, clipping", "function, clipping", "clip_grad_norm_"),
    Contest("fused AdamW step, clipping", "AdamW, clipping", "clip_grad_norm_ and AdamW", FOLDED),
    Contest("fused AdamW step, not clipping", "AdamW, not clipping", "clip_grad_norm_ and AdamW"),
    Contest("foreach SGD step, clipping", "foreach SGD, clipping", "clip_grad_norm_ and foreach SGD"),
    Contest("for-loop SGD step, clipping", "loop SGD, clipping", "clip_grad_norm_ and loop SGD"),
    Contest("clip_value, not clipping", "clip_value, not clipping", "clip_grad_norm_"),
    # Another clip than the one that it is set beside: its coefficient takes a second pass over what was clamped.
    Contest("clip_value, clipping", "clip_value, clipping", "clip_grad_norm_", {}),
    Contest("clip_value, not clipping, to torch's own", "clip_value, not clipping", "clip_grad_value_", {}),
    Contest("clip_value, clipping, to torch's own", "clip_value, clipping", "clip_grad_value_", {}),
)


class Gradients:
    """A network and its gradients, which can be brought back to what they were."""

    def __init__(self, model: nn.Module) -> None:
        noise = torch.Generator().manual_seed(0)
        self.model = model
        self.parameters = list(model.parameters())
        for parameter in self.parameters:
            parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=noise)
        self._gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self._kept = [gradient.clone() for gradient in self._gradients]
        self.norm = float(torch.nn.utils.get_total_norm(self._gradients))

    def restore(self) -> None:
        """Write all of them again, into the same memory."""
        torch._foreach_copy_(self._gradients, self._kept)


@contextmanager
def recording_run() -> Iterator[gradvitals.Run]:
    """A run whose service answers at once, in memory, and which says nothing."""
    os.environ.setdefault("GRADVITALS_QUIET", "1")
    with gradvitals.init(project="benchmark", name="clip cost", url=gradvitals.MemoryTransport()) as run:
        yield run


def ways_to_clip(gradients: Gradients, run: gradvitals.Run) -> dict[str, Way]:
    """Everything that is timed on one network. Clipping halves the gradients; half of ``far`` would not reach them."""
    near, far, model, parameters = gradients.norm / 2, gradients.norm * 4, gradients.model, gradients.parameters
    clip_norm, clip_value = torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_
    small_value = 1e-3  # the size of the gradients' noise: a third of the elements is clipped
    adamw = AdamW(parameters, lr=1e-9, fused=True)
    adamw.step()  # makes the state for all: memory is not equally fast everywhere, and this may be a gigabyte

    def new_optimizer(kind: str) -> Optimizer:
        if kind != "AdamW":
            return SGD(parameters, lr=1e-9, foreach=kind == "foreach SGD")
        optimizer = AdamW(parameters, lr=1e-9, fused=True)
        optimizer.state = adamw.state
        return optimizer

    def explicit(max_norm: float | None = None, clip_value: float | None = None) -> Way:
        optimizer = new_optimizer("loop SGD")
        monitor = run.watch(model, optimizer, max_norm=max_norm, clip_value=clip_value, hook=False)
        return Way(monitor.clip_, gradients.restore)

    def function(max_norm: float) -> Way:
        return Way(lambda: gradvitals.clip_grad_norm_(parameters, max_norm), gradients.restore)

    def torchs_step(kind: str) -> Way:
        optimizer = new_optimizer(kind)

        def clip_and_step() -> None:
            clip_norm(parameters, near)
            optimizer.step()

        return Way(clip_and_step, gradients.restore)

    def watched_step(kind: str, *limits: float) -> list[Way]:
        """One optimizer, stepped with each of several limits."""
        optimizer = new_optimizer(kind)
        monitor = run.watch(model, optimizer, max_norm=near)

        def set_limit(max_norm: float) -> None:
            gradients.restore()
            monitor.max_norm = max_norm

        return [Way(optimizer.step, lambda limit=limit: set_limit(limit)) for limit in limits]  # type: ignore[misc]

    adamw_near, adamw_far = watched_step("AdamW", near, far)
    return {
        "clip_grad_norm_": Way(lambda: clip_norm(parameters, near), gradients.restore),
        "clip_grad_norm_ again": Way(lambda: clip_norm(parameters, near), gradients.restore),
        "clip_grad_value_": Way(lambda: clip_value(parameters, small_value), gradients.restore),
        **{f"clip_grad_norm_ and {kind}": torchs_step(kind) for kind in ("AdamW", "foreach SGD", "loop SGD")},
        "clip_, not clipping": explicit(max_norm=far),
        "clip_, clipping": explicit(max_norm=near),
        "function, not clipping": function(far),
        "function, clipping": function(near),
        "AdamW, clipping": adamw_near,
        "AdamW, not clipping": adamw_far,
        "foreach SGD, clipping": watched_step("foreach SGD", near)[0],
        "loop SGD, clipping": watched_step("loop SGD", near)[0],
        "clip_value, not clipping": explicit(clip_value=far),
        "clip_value, clipping": explicit(clip_value=small_value),
    }


def measure(shape: Shape, rounds: int) -> dict[str, Times]:
    """The times of every way on one network."""
    with recording_run() as run:
        return race(ways_to_clip(Gradients(shape.build()), run), rounds)


def compare(name: str, shape: Shape, times: Mapping[str, Times]) -> list[dict[str, Any]]:
    """One row for each contest."""
    rows = []
    for contest in CONTESTS:
        ours, torchs, target = times[contest.ours], times[contest.torchs], contest.target(name)
        figure = ours.over(torchs)
        rows.append(
            {
                "network": shape.title,
                "what": contest.name,
                "torch, us": torchs.median * 1e6,
                "ours / torch's": figure,
                "20th percentile": ours.p20 / torchs.p20,
                "target": target,
                "met": None if target is None else "yes" if figure <= target else "no",
            }
        )
    return rows


def main() -> None:
    """Measure the networks that were asked for, one after the other, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this network; may be given again")
    parser.add_argument("--rounds", type=int, help="of each variant, instead of the network's own number")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in arguments.shape or SHAPES:
        shape = SHAPES[name]
        rows += compare(name, shape, measure(shape, arguments.rounds or shape.rounds))
    report(
        "clip_cost", "Clipping with every layer measured, to torch's own clip (CPU time of the training thread)", rows
    )


if __name__ == "__main__":
    main()
