"""What does a watched step cost beside one that torch clips?

Whole training steps of small models, three ways in one process: bare, with ``torch.nn.utils.clip_grad_norm_``, and
watched (clipped, every layer measured, a frame recorded and sent to a service that answers at once, in memory). The
variants take turns in shuffled order; figures are medians of the CPU time of the training thread, which other work
on the machine does not disturb. The issue on the clip engine sets the targets; this page only says where we are.
"""

import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import gradvitals
from benchmarks.report import report

ROUNDS = 300
WARM_UP = 20


class Recurrent(nn.Module):
    """The model of examples/gru.py."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 32, batch_first=True)
        self.read_out = nn.Linear(32, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.gru(inputs)
        result: torch.Tensor = self.read_out(outputs[:, -1])
        return result


class Residual(nn.Module):
    """A linear layer around which the gradient finds its way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = inputs + 0.1 * self.linear(inputs).tanh()
        return result


def many_layers() -> nn.Module:
    """500 residual layers of 32 x 32: 1,000 parameters of 32 to 1,024 elements."""
    return nn.Sequential(*(Residual(32) for _ in range(500)))


def make_step(build: Callable[[], nn.Module], inputs: torch.Tensor, variant: str) -> Callable[[], float]:
    """A function that trains one step and gives the CPU seconds that this thread spent on it."""
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    run = None
    if variant == "watched":
        run = gradvitals.init(project="benchmark", name="step cost", url=gradvitals.MemoryTransport())
        run.watch(model, optimizer, max_norm=1e-3)

    def step() -> float:
        started = time.thread_time()
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        if variant == "torch's clip":
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()
        return time.thread_time() - started

    return step


def measure(name: str, build: Callable[[], nn.Module], inputs: torch.Tensor) -> dict[str, object]:
    """One row: the median step of each variant, and what the two clips add."""
    steps = {variant: make_step(build, inputs, variant) for variant in ("bare", "torch's clip", "watched")}
    seconds: dict[str, list[float]] = {variant: [] for variant in steps}
    order = list(steps)
    for round_number in range(WARM_UP + ROUNDS):
        random.shuffle(order)
        for variant in order:
            spent = steps[variant]()
            if round_number >= WARM_UP:
                seconds[variant].append(spent)
    bare, torchs, watched = (statistics.median(seconds[variant]) for variant in steps)
    return {
        "model": name,
        "bare step, us": bare * 1e6,
        "with torch's clip": torchs / bare,
        "watched": watched / bare,
        "watched / torch's clip": watched / torchs,
        "added / torch's added": (watched - bare) / (torchs - bare),
    }


def main() -> None:
    """Measure both models and report."""
    torch.set_num_threads(1)
    random.seed(0)
    rows = [
        measure("GRU of the example, 6 tensors", Recurrent, torch.rand(64, 50, 2)),
        measure("1,000 small tensors", many_layers, torch.rand(16, 32)),
    ]
    report("step_cost", "A training step, clipping every time (CPU time of the training thread)", rows)


if __name__ == "__main__":
    main()
