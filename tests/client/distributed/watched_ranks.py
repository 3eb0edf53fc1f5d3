"""On 4 ranks: train a watched network in every way in which torch spreads it, and let things go wrong on one rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from client.distributed.training import MAX_NORM, Training, data_parallel, fully_sharded, tensor_parallel, ways
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.debug import CommDebugMode
from torch.optim import SGD, AdamW, Optimizer

import gradvitals
from gradvitals.agreement import agree_on_watching, teams_of
from gradvitals.clipping import ClipByGlobalNorm, ClipByLayerNorm
from gradvitals.distributed import is_sharded
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.memory_transport import MemoryTransport
from gradvitals.monitor import Monitor

STEPS = 3
BAD_RANK = 2


def find(rank: int, line: DeviceMesh, square: DeviceMesh) -> dict[str, Any]:
    """What this rank finds, by case."""

    def sharded() -> Training:
        return fully_sharded(line, rank)

    def plant(training: Training, value: float = math.nan) -> None:
        """Into this rank's part of one gradient."""
        if rank == BAD_RANK:
            local(training.model.get_parameter("down.weight").grad).view(-1)[0] = value

    def plant_in_a_replica(training: Training) -> None:
        if rank == BAD_RANK:
            training.model.get_parameter("norm.weight").grad[0] = math.nan

    replicas = data_parallel(rank)
    failing = FailingClip(MAX_NORM, fails=rank == BAD_RANK)
    return {
        **{way: train(begin()) for way, begin in ways(rank, line, square).items()},
        "fused": train(sharded(), fused_adamw),
        "fused hsdp": train(fully_sharded(square, rank), fused_adamw),
        "by value": train(sharded(), max_norm=None, clip_value=0.01),
        "by layer": train(sharded(), max_norm=None, strategy=ClipByLayerNorm(0.05)),
        "by function": train(sharded(), max_norm=None, strategy=halve),
        "in the open": train(sharded(), hook=False),
        "skip": train(sharded(), on_non_finite="skip", mishap=plant),
        "skip a replica": train(tensor_parallel(square["tensor"]), on_non_finite="skip", mishap=plant_in_a_replica),
        "keep": train(sharded(), mishap=plant),
        "scaler": train_scaled(sharded(), plain_sgd, plant),
        "scaler, fused": train_scaled(sharded(), fused_adamw, plant),
        "raise": train(sharded(), on_non_finite="raise", mishap=plant),
        "fault before measuring": train(sharded(), hook=False, scaler=FailingScaler(fails=rank == BAD_RANK)),
        "fault after measuring": train(sharded(), max_norm=None, strategy=failing),
        "another limit": refusal_of(lambda: watch(sharded(), plain_sgd, max_norm=2.0 if rank == BAD_RANK else 1.0)),
        "another limit, ddp": refusal_of(lambda: watch(replicas, plain_sgd, max_norm=2.0 if rank == BAD_RANK else 1.0)),
        "alone, ddp": refusal_of(lambda: rank != 0 or watch(replicas, plain_sgd)),
        "zero redundancy": train(data_parallel(rank), zero_redundancy),
        "run": run(rank, sharded()),
        "absent": refusal_of(lambda: rank == BAD_RANK or wait_for_all(sharded())),  # last: it misses one
    }


def train(
    training: Training,
    make_optimizer: Callable[[nn.Module], Optimizer] | None = None,
    *,
    mishap: Callable[[Training], None] = lambda training: None,
    **options: Any,
) -> dict[str, Any]:
    """A few watched steps, with a mishap at step 1."""
    monitor, optimizer, told = watch(training, make_optimizer or plain_sgd, **{"max_norm": MAX_NORM} | options)
    before, raised = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        training.backward(step)
        if step == 1:
            mishap(training)
            before = whole_parameters(training)
        with CommDebugMode() as counted:
            try:
                if options.get("hook") is False:
                    monitor.clip_()
                optimizer.step()
            except NonFiniteGradientError as error:
                raised.append(str(error))
        if step == 1:
            unchanged = all(map(torch.equal, before, whole_parameters(training)))
    monitor.close()
    return {
        "frames": [
            (frame.global_norm, list(frame.layer_norms), frame.clip_coefficient, frame.flags) for frame in told.frames
        ],
        "counts": [frame.non_finite for frame in told.frames],
        "parameters": whole_parameters(training),
        "collectives": counted.get_total_counts(),
        "unchanged": unchanged,
        "raised": raised,
        "lines": told.lines,
    }


def train_scaled(
    training: Training, make_optimizer: Callable[[nn.Module], Optimizer], mishap: Callable[..., None]
) -> dict[str, Any]:
    """The same under a GradScaler, with an overflow at step 1."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    monitor, optimizer, told = watch(training, make_optimizer, max_norm=MAX_NORM, scaler=scaler)
    for step in range(STEPS):
        optimizer.zero_grad()
        training.backward(step, scale=scaler.scale)
        if step == 1:
            mishap(training, math.inf)
        scaler.step(optimizer)
        scaler.update()
    monitor.close()
    return {
        "frames": [(frame.global_norm, frame.clip_coefficient, frame.flags, frame.loss_scale) for frame in told.frames],
        "counts": [frame.non_finite for frame in told.frames],
        "lines": told.lines,
    }


def run(rank: int, training: Training) -> dict[str, Any]:
    """A whole run of 30 steps, in which the loss of one rank is NaN at step 20."""
    service = MemoryTransport()
    optimizer = plain_sgd(training.model)
    with gradvitals.init("tests", "on four ranks", url=service) as run:
        run.watch(training.model, optimizer, max_norm=MAX_NORM)
        for step in range(30):
            optimizer.zero_grad()
            training.backward(step % STEPS)
            run.log(loss=math.nan if (rank, step) == (BAD_RANK, 20) else 1.0)
            optimizer.step()
    (attempt,) = service.attempts.values()
    return {"run_id": run.run_id, "steps": [frame.step for frame in service.frames()], "attempt": attempt}


class Told:
    """The frames and lines of one monitor."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.lines: list[str] = []

    def submit(self, monitor: Monitor, frame: Any) -> None:
        self.frames.append(frame)


class FailingClip(ClipByGlobalNorm):
    """A strategy with a bug that shows on one rank."""

    def __init__(self, max_norm: float, *, fails: bool) -> None:
        super().__init__(max_norm)
        object.__setattr__(self, "fails", fails)

    def clip_(self, *arguments: Any) -> Any:
        if self.fails:
            raise RuntimeError("a bug in clip_")
        return super().clip_(*arguments)

    def factor(self, *arguments: Any) -> Any:
        if self.fails:
            raise RuntimeError("a bug in factor")
        return super().factor(*arguments)


class FailingScaler:
    """A scaler that scales by 1, and fails once when it is asked about an optimizer."""

    _scale = torch.tensor(1.0)

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    @property
    def _per_optimizer_states(self) -> dict[int, Any]:
        fails, self._fails = self._fails, False
        if fails:
            raise RuntimeError("a bug in the scaler")
        return {}

    def step(self, optimizer: Optimizer) -> None:
        optimizer.step()

    def unscale_(self, optimizer: Optimizer) -> None:
        """Nothing to do."""


def watch(
    training: Training, make_optimizer: Callable[[nn.Module], Optimizer], **options: Any
) -> tuple[Monitor, Optimizer, Told]:
    told, optimizer = Told(), make_optimizer(training.model)
    return Monitor(training.model, optimizer, sink=told, tell=told.lines.append, **options), optimizer, told


def plain_sgd(model: nn.Module) -> Optimizer:
    # One tensor at a time: torch's own loop over all of them refuses plain tensors among DTensors.
    return SGD(model.parameters(), lr=0.5, momentum=0.9, foreach=False)


def fused_adamw(model: nn.Module) -> Optimizer:
    return AdamW(model.parameters(), lr=0.05, fused=True)


def zero_redundancy(model: nn.Module) -> Optimizer:
    # Its module warns of torch.jit when it is imported, which in the tests' own process would be an error.
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(model.parameters(), SGD, lr=0.5, momentum=0.9)


def halve(gradients: Any, norms: Any) -> None:
    for gradient in gradients:
        gradient.mul_(0.5)


def wait_for_all(training: Training) -> None:
    teams = teams_of(training.model, training.model.parameters(), clips=True)
    agree_on_watching(teams, "the same", lambda line: None, seconds_to_wait=1.0)


def refusal_of(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except ConfigurationError as refusal:
        return str(refusal)
    return None


def whole_parameters(training: Training) -> list[Tensor]:
    parameters = [parameter.detach() for parameter in training.model.parameters()]
    return [parameter.full_tensor() if is_sharded(parameter) else parameter.clone() for parameter in parameters]


def local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if is_sharded(tensor) else tensor
