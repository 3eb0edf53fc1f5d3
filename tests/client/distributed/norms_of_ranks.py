"""On 4 ranks: measure and clip one step's gradients in every way in which torch spreads a network, and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from client.distributed.training import MAX_NORM, NORM_TYPES, Training, ways
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode

from gradvitals import clip_grad_norm_
from gradvitals.distributed import is_sharded, local_tensors, sharded_norms
from gradvitals.norms import GradientNorms

SHARD, REPLICATE = Shard(0), Replicate()


def find(rank: int, line: DeviceMesh, square: DeviceMesh) -> dict[str, Any]:
    """What this rank finds, by case."""
    measured = {way: measure_and_clip(begin()) for way, begin in ways(rank, line, square).items()}
    for way, begin in ways(rank, line, square).items():
        measured[way] |= clip_by_the_function(begin())
    return measured | {"by hand": by_hand(rank, line, square)}


def measure_and_clip(training: Training) -> dict[str, Any]:
    """The norms, what the clip leaves, and how many collectives each took beside torch's own clip."""
    training.backward()
    parameters = list(training.model.parameters())
    gradients = [parameter.grad for parameter in parameters]
    norms = {p: sharded_norms(gradients, p, parameters) for p in NORM_TYPES}
    with CommDebugMode() as ours:
        sharded_norms(gradients, 2.0, parameters)
    torchs = torchs_collectives(gradients)
    with CommDebugMode() as multiplying:
        coefficient = torch.tensor(MAX_NORM / (norms[2.0].global_norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(local_tensors(gradients), coefficient)
    return {
        "global_norms": {p: norm.global_norm for p, norm in norms.items()},
        "layer_norms": {p: norm.layer_norms for p, norm in norms.items()},
        "clipped": [whole(gradient) for gradient in gradients],
        "collectives": ours.get_total_counts(),
        "collectives_of_multiplying": multiplying.get_total_counts(),
        "collectives_of_torch": torchs,
    }


def clip_by_the_function(training: Training) -> dict[str, Any]:
    """What the public function does, without a monitor."""
    training.backward()
    parameters = list(training.model.parameters())
    norm = clip_grad_norm_(parameters, MAX_NORM)
    gradients = [whole(parameter.grad) for parameter in parameters]
    return {"norm_of_function": norm.item(), "clipped_by_function": gradients}


def torchs_collectives(gradients: Sequence[Tensor]) -> int | str:
    """How many torch's own clip enters, or the words in which it refuses."""
    with CommDebugMode() as counted:
        try:
            torch.nn.utils.get_total_norm(gradients)
        except RuntimeError as refusal:
            return str(refusal)
    return counted.get_total_counts()


def whole(gradient: Tensor) -> Tensor:
    return gradient.full_tensor() if is_sharded(gradient) else gradient


def result(norms: GradientNorms) -> tuple[list[float], float]:
    assert isinstance(norms.layer_norms, list)
    return norms.layer_norms, norms.global_norm


def by_hand(rank: int, line: DeviceMesh, square: DeviceMesh) -> dict[str, tuple[list[float], float]]:
    """Gradients of a few numbers each, of which this rank holds what is written here."""

    def tensor(mesh: DeviceMesh, placements: Sequence[Any], *values: float, dtype=torch.float32) -> DTensor:
        return DTensor.from_local(torch.tensor(values, dtype=dtype), mesh, placements, run_check=False)

    nan, inf = math.nan, math.inf
    split = tensor(line, [SHARD], 1.0)  # (1, 1, 1, 1): norm 2
    only_two = tensor(line, [SHARD], *[3.0, 4.0][rank : rank + 1])  # (3), (4), () and ()
    one_is_bad = {bad: tensor(line, [SHARD], bad if rank == 2 else 1.0) for bad in (nan, inf, -inf)}
    faults: list[Exception] = []
    foreach_fails = FaultyTensor.of([3.0], "_foreach_norm") if rank == 1 else torch.tensor([3.0])
    all_fail = FaultyTensor.of([3.0], "_foreach_norm", "linalg_vector_norm") if rank == 1 else torch.tensor([3.0])

    findings = {
        "shards of one number": sharded_norms([split]),
        "empty shards": sharded_norms([only_two]),
        "empty shards, largest": sharded_norms([only_two], inf),
        "no gradient on rank 1": sharded_norms([None if rank == 1 else split], 2.0, [split]),
        "no gradient on any rank": sharded_norms([None, None], 2.0, [split, only_two]),
        "no layer": sharded_norms([]),
        "plain beside shards": sharded_norms([split, torch.tensor([3.0, 4.0])]),
        "replicas": sharded_norms([tensor(square, [REPLICATE, REPLICATE], 3.0, 4.0)]),
        "replicas that differ": sharded_norms([split, tensor(line, [REPLICATE], [1.0, 1.0, 1.0, 5.0][rank])]),
        "a replica with a NaN": sharded_norms([split, tensor(line, [REPLICATE], nan if rank == 3 else 1.0)]),
        "still to be added up": sharded_norms([tensor(line, [Partial()], 1.0, -1.0)]),
        "added up on one side": sharded_norms([tensor(square, [Partial(), SHARD], 1.5 + rank % 2 / 2)]),
        "experts": sharded_norms([split, tensor(square, [REPLICATE, SHARD], 1.5 + rank % 2 / 2)]),
        "sharded twice": sharded_norms([tensor(square, [SHARD, SHARD], 1.0), split]),
        "squares overflow": sharded_norms([tensor(line, [SHARD], 1e30)]),
        "squares underflow": sharded_norms([tensor(line, [SHARD], 1e-30)]),
        "largest of all": sharded_norms([tensor(line, [SHARD], -float(rank), 1.0)], inf),
        "in half precision": sharded_norms([tensor(line, [SHARD], 300.0, dtype=torch.float16)]),
        "a fault on rank 1": sharded_norms([split, foreach_fails], on_fault=faults.append),
        "two faults on rank 1": sharded_norms([split, all_fail], on_fault=faults.append),
        **{f"{bad} on rank 2": sharded_norms([bads, split]) for bad, bads in one_is_bad.items()},
        **{f"{bad} on rank 2, largest": sharded_norms([bads, split], inf) for bad, bads in one_is_bad.items()},
    }
    return {name: result(norms) for name, norms in findings.items()} | {"faults": [repr(fault) for fault in faults]}


class FaultyTensor(Tensor):
    """A gradient that some of torch's functions cannot read, as when a device runs out of memory."""

    @staticmethod
    def of(values: list[float], *functions: str) -> FaultyTensor:
        tensor = torch.tensor(values).as_subclass(FaultyTensor)
        tensor.functions = functions
        return tensor

    @classmethod
    def __torch_function__(cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = args[0] if args and isinstance(args[0], list) else args
        failing = {name for tensor in tensors for name in getattr(tensor, "functions", ()) if type(tensor) is cls}
        if function.__name__ in failing:
            raise RuntimeError(f"out of memory in {function.__name__}")
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))
