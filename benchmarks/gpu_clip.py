"""What does clipping on a CUDA device cost beside torch's own clip?

The same gradients, clipped by torch and by a monitor that measures every layer, takes the frame off the device and
hands it on; alone, and together with a fused AdamW step. Variants take turns in shuffled order; figures are medians of
time on the device (between two events, behind a sleep that lets the host run ahead, so that no gap is counted) and of
time on the host. A hidden wait shows as host time as long as that sleep. Launches are counted by the profiler.

Targets, to torch's clip: 0.45 where nothing is clipped, 1.05 where everything is, at most 3 launches and 2 ms on the
host for 2,000 layers. Without CUDA there is nothing to measure, and this says so.

What stands between here and the targets is one kernel. Stock operations read every gradient once for the norms and
then multiply always, which reads and writes it again: 12 bytes a parameter, as torch does, though a fused optimizer
saves 4 of them by multiplying in its own step. A Triton multiplication whose blocks read the coefficient first and
return where it is 1 leaves 4 bytes where nothing is clipped, so 0.33 of torch's clip at best, for one launch over a
table of addresses and lengths that changes only when a gradient moves. A second kernel over the same table could
replace the norms of L tensors (one launch for each 770 tensors or 2,240 blocks of 65,536 elements) by two launches.
Neither is written: they wait for the day on which they can be measured.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

import gradvitals
from benchmarks.report import report

ROUNDS = 60
WARM_UP = 5
SLEEP_CYCLES = 60_000_000  # some 30 ms, longer than any of the calls takes on the host
MAX_NORM = 1e-3  # below the norm of the gradients
NO_LIMIT = 1e30  # above it
GRADIENT = 0.01
BYTES_EACH = 40  # of a parameter with its gradient, two AdamW states of two variants, and some room

TARGETS = {"clip, not clipping": 0.45, "clip, clipping": 1.05}


def transformer_sizes(width: int = 768, layers: int = 12, words: int = 50_257) -> list[int]:
    """148 tensors of 124 million elements."""
    block = [width, width, 3 * width * width, 3 * width, width * width, width]
    block += [width, width, 4 * width * width, 4 * width, 4 * width * width, width]
    return [words * width, 1024 * width, *block * layers, width, width]


SHAPES = {
    "124M in 148 tensors": transformer_sizes(),
    "1,000M in 300 tensors": [3_333_333] * 300,
    "2,000 tensors of 1,024": [1024] * 2000,
}


@dataclass
class Figures:
    """What was measured of one variant."""

    device_ms: list[float] = field(default_factory=list)
    host_ms: list[float] = field(default_factory=list)
    launches: int = 0


class Bench:
    """One set of parameters with gradients, and the variants that clip them."""

    def __init__(self, sizes: list[int], device: torch.device) -> None:
        self.parameters = nn.ParameterList(nn.Parameter(torch.zeros(size, device=device)) for size in sizes)
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.gradients: list[Tensor] = [p.grad for p in self.parameters if p.grad is not None]
        run = gradvitals.init(project="benchmark", name="gpu clip", url=gradvitals.MemoryTransport())
        clipper = torch.optim.SGD(self.parameters, lr=0.0)  # never steps: the monitor is called in the open
        ours = run.watch(self.parameters, clipper, max_norm=NO_LIMIT, hook=False)
        stepper = torch.optim.AdamW(self.parameters, lr=1e-6, fused=True)
        watched = torch.optim.AdamW(self.parameters, lr=1e-6, fused=True)
        stepped = run.watch(self.parameters, watched, max_norm=NO_LIMIT)

        def torchs_clip(max_norm: float) -> None:
            nn.utils.clip_grad_norm_(self.parameters, max_norm)

        def our_clip(max_norm: float) -> None:
            ours.max_norm = max_norm
            ours.clip_()

        def torchs_step(max_norm: float) -> None:
            nn.utils.clip_grad_norm_(self.parameters, max_norm)
            stepper.step()

        def our_step(max_norm: float) -> None:
            stepped.max_norm = max_norm
            watched.step()

        self.variants: dict[tuple[str, str], Callable[[], None]] = {}
        for what, max_norm in (("not clipping", NO_LIMIT), ("clipping", MAX_NORM)):
            for name, clip, step in (("torch", torchs_clip, torchs_step), ("ours", our_clip, our_step)):
                self.variants[f"clip, {what}", name] = partial(clip, max_norm)
                self.variants[f"clip and step, {what}", name] = partial(step, max_norm)
        self.close = run.finish

    def refill(self) -> None:
        """Gradients as they were before they were clipped."""
        torch._foreach_zero_(self.gradients)
        torch._foreach_add_(self.gradients, GRADIENT)

    def time_once(self, call: Callable[[], None], figures: Figures) -> None:
        """One call on a device that is busy with something else until the host has enqueued it."""
        self.refill()
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        torch.cuda._sleep(SLEEP_CYCLES)
        before.record()
        began = time.perf_counter()
        call()
        figures.host_ms.append((time.perf_counter() - began) * 1e3)
        after.record()
        torch.cuda.synchronize()
        figures.device_ms.append(before.elapsed_time(after))

    def count_launches(self, call: Callable[[], None]) -> int:
        """Kernels and copies that one call leads to on the device."""
        self.refill()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call()
            torch.cuda.synchronize()
        return sum(event.device_type.name == "CUDA" for event in profile.events())


def measure(shape: str, sizes: list[int], device: torch.device) -> list[dict[str, object]]:
    """Rows of one shape: each kind of call, ours to torch's."""
    bench = Bench(sizes, device)
    figures = {variant: Figures() for variant in bench.variants}
    order = list(bench.variants)
    for round_number in range(WARM_UP + ROUNDS):
        random.shuffle(order)
        for variant in order:
            kept = figures[variant] if round_number >= WARM_UP else Figures()
            bench.time_once(bench.variants[variant], kept)
    for variant, call in bench.variants.items():
        figures[variant].launches = bench.count_launches(call)
    bench.close()
    rows = []
    for what in dict.fromkeys(what for what, _ in bench.variants):
        ours, torchs = figures[what, "ours"], figures[what, "torch"]
        ratio = statistics.median(ours.device_ms) / statistics.median(torchs.device_ms)
        rows.append(
            {
                "shape": shape,
                "call": what,
                "to torch's": ratio,
                "target": TARGETS.get(what),
                "torch's, ms": statistics.median(torchs.device_ms),
                "launches": ours.launches,
                "torch's launches": torchs.launches,
                "on the host, ms": statistics.median(ours.host_ms),
                "torch's on the host, ms": statistics.median(torchs.host_ms),
                "device": torch.cuda.get_device_name(device),
            }
        )
    return rows


def main() -> None:
    """Measure what fits into the device's memory, and report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not torch.cuda.is_available():
        print("gpu_clip: there is no CUDA device here, so nothing was measured")
        sys.exit(0)
    random.seed(0)
    device = torch.device("cuda", torch.cuda.current_device())
    rows = []
    for shape, sizes in SHAPES.items():
        free, _ = torch.cuda.mem_get_info(device)
        if sum(sizes) * BYTES_EACH > free:
            print(f"gpu_clip: {shape} does not fit into {free:,} free bytes and is left out")
            continue
        rows += measure(shape, sizes, device)
        torch.cuda.empty_cache()
    report("gpu_clip", "Clipping and measuring on a CUDA device, to torch's clip", rows)


if __name__ == "__main__":
    main()
