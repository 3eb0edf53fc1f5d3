"""Norms of gradients that are spread over several ranks: the numbers that one rank would find, the same on all of them.

Each rank measures its own shards, and one all-reduce for each sharded dimension of the mesh makes them whole: as many
collectives as torch's own clip enters, for the norms of all layers instead of one. Nothing here waits for a device.

A rank that leaves before a collective lets the others wait in it for ever. So which collectives are entered follows
from the placements alone, which all ranks share, never from a value or from who has a gradient, and a fault in between
is dealt with on the spot. Gradients without a placement are taken to be the same on every rank, as DDP leaves them.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import torch
from torch import Tensor

from gradvitals.cpu_norms import norm_of_norms
from gradvitals.norms import EPSILON, GradientNorms, as_norm_type, gradient_norms

DTENSOR_MODULES = ("torch.distributed.tensor", "torch.distributed._tensor")  # where it lives, and did in torch 2.4
IN_DOUBLE = ("cpu", "cuda", "xpu")  # devices whose collectives take doubles


@dataclass(slots=True)
class _Reduction:
    """One all-reduce: over which ranks, and which layers they hold in shards."""

    group: Any  # a torch.distributed.ProcessGroup
    device_type: str
    sharded: list[int] = field(default_factory=list)

    def of(self, places: Sequence[int]) -> _Reduction:
        """The same for some of the layers only."""
        sharded = set(self.sharded)
        return _Reduction(self.group, self.device_type, [new for new, place in enumerate(places) if place in sharded])


@dataclass(slots=True)
class ShardedNorms(GradientNorms):
    """Norms of whole layers, of which this rank holds a part."""

    reductions: tuple[_Reduction, ...] = ()

    def again(self, gradients: Sequence[Tensor], places: Sequence[int] | None = None) -> GradientNorms:
        """Measure what this rank holds of some layers once more. As many collectives; all ranks must come here."""
        reductions = self.reductions if places is None else tuple(r.of(places) for r in self.reductions)
        return _reduce(gradient_norms(gradients, self.norm_type), reductions, on_host=self.on_host)


def is_sharded(tensor: Tensor | None) -> TypeGuard[Any]:
    """Whether this is a DTensor, which other ranks may hold parts of."""
    if type(tensor) is Tensor:  # which a gradient nearly always is
        return False
    module = _dtensor_module()
    return module is not None and isinstance(tensor, module.DTensor)


@torch.no_grad()
def local_tensors(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this rank holds of each, in the same memory: multiplied by one factor on all ranks, so is the whole."""
    return [_local(tensor) if is_sharded(tensor) else tensor for tensor in tensors]


@torch.no_grad()
def sharded_norms(
    gradients: Sequence[Tensor | None],
    norm_type: float = 2.0,
    parameters: Sequence[Tensor] | None = None,
    on_fault: Callable[[Exception], None] = lambda fault: None,
) -> GradientNorms:
    """Measure gradients of which some are DTensors, as ``gradient_norms`` would if one rank held all of them.

    Every rank must call this with its part of the same list. A gradient that only some of them have counts as zero on
    the others, which know of its shards from ``parameters``; one that is still to be added up must be there on all. Of
    replicas the p-th powers are averaged where there is a collective, so that the ranks agree even if replicas do not.
    In a p-norm the p-th powers must fit a double: those of the 1- and 2-norms of single precision always do. Where
    measuring fails on this rank, ``on_fault`` is told, and torch's own norm takes its place.
    """
    survey = _Survey()
    held = [
        survey.hold(place, gradient, gradient if parameters is None else parameters[place])
        for place, gradient in enumerate(gradients)
    ]
    return _whole_norms(survey, held, gradients if parameters is None else parameters, norm_type, on_fault)


@torch.no_grad()
def measure_shards_(
    parameters: Sequence[Tensor], norm_type: float, on_fault: Callable[[Exception], None] = lambda fault: None
) -> tuple[list[Tensor], GradientNorms]:
    """What this rank holds of the gradients of ``parameters``, an empty tensor where there is none, and their norms.

    A gradient that is still to be added up over ranks is, for the optimizer as well. Torch would do that at each use of
    it: in its clip, and in the optimizer once or more.
    """
    survey = _Survey()
    held = [survey.hold(place, parameter.grad, parameter, keep=True) for place, parameter in enumerate(parameters)]
    norms = _whole_norms(survey, held, parameters, norm_type, on_fault)
    return [_nothing(parameters[place]) if part is None else part for place, part in enumerate(held)], norms


@torch.no_grad()
def rescue_shards_(
    parameters: Sequence[Tensor], max_norm: float, norm_type: float, norms: GradientNorms | None
) -> None:
    """Clip by ``norms`` after a fault of ours, one gradient at a time.

    Without norms the other ranks still wait for this one to measure; with them they are past that, so that torch's own
    clip, which measures, would wait for them for ever.
    """
    if norms is None:
        _, norms = measure_shards_(parameters, norm_type)
    coefficient = (max_norm / (torch.as_tensor(norms.global_norm) + EPSILON)).clamp(max=1.0)
    for gradient in local_tensors(parameter.grad for parameter in parameters if parameter.grad is not None):
        gradient.mul_(coefficient.to(gradient.device, gradient.dtype))


@dataclass(slots=True)
class _Spread:
    """What is to be done for all tensors that are spread over the ranks in one way."""

    reductions: list[_Reduction]
    partial: bool  # still to be added up over some dimension


class _Survey:
    """Finds out which all-reduces make the norms whole, in an order that is the same on every rank."""

    def __init__(self) -> None:
        module = _dtensor_module()
        self._dtensor: Any = None if module is None else module.DTensor
        self._by_group: dict[str, _Reduction] = {}
        self._known: dict[tuple[int, Any], _Spread] = {}

    @property
    def reductions(self) -> tuple[_Reduction, ...]:
        return tuple(self._by_group.values())

    def hold(self, place: int, gradient: Tensor | None, likely: Any, *, keep: bool = False) -> Tensor | None:
        """What this rank holds of a gradient; ``likely`` is spread as it would be, where this rank has none.

        With ``keep``, a gradient that has been added up takes its place on ``likely``, its parameter.
        """
        tensor: Any = likely if gradient is None else gradient
        if self._dtensor is None or not isinstance(tensor, self._dtensor):
            return gradient
        mesh, placements = tensor.device_mesh, tensor.placements
        spread = self._known.get((id(mesh), placements))
        if spread is None:
            spread = self._known[id(mesh), placements] = self._spread(mesh, placements)
        for reduction in spread.reductions:
            reduction.sharded.append(place)
        if gradient is None:
            return None
        if spread.partial:
            gradient = _added_up(gradient)
            if keep:
                likely.grad = gradient
        return _local(gradient)

    def _spread(self, mesh: Any, placements: Sequence[Any]) -> _Spread:
        spread = _Spread([], any(placement.is_partial() for placement in placements))
        for dim, placement in enumerate(placements):
            # What is still to be added up over a dimension will be before it is measured, and is replicated then.
            if not (placement.is_replicate() or placement.is_partial()):
                group = mesh.get_group(dim)
                reduction = self._by_group.setdefault(group.group_name, _Reduction(group, mesh.device_type))
                spread.reductions.append(reduction)
        return spread


def _dtensor_module() -> Any:
    """Torch's module of DTensors, which is never imported for this: before somebody else does, no tensor is one."""
    return next((sys.modules[name] for name in DTENSOR_MODULES if hasattr(sys.modules.get(name), "DTensor")), None)


def _local(tensor: Any) -> Tensor:
    local: Tensor = tensor.to_local()
    # What a collective is still writing has a wait; what an optimizer and a clip see otherwise is a plain tensor.
    return local.wait() if type(local) is not Tensor and hasattr(local, "wait") else local


def _added_up(gradient: Any) -> Any:
    """A gradient that is the sum over some dimensions, as a copy that is the same on all of their ranks."""
    replicate = _dtensor_module().Replicate()
    return gradient.redistribute(
        placements=[replicate if placement.is_partial() else placement for placement in gradient.placements]
    )


def _nothing(parameter: Tensor) -> Tensor:
    return torch.empty(0, dtype=parameter.dtype, device=parameter.device)


def _whole_norms(
    survey: _Survey,
    held: Sequence[Tensor | None],
    likely: Sequence[Tensor | None],
    norm_type: float,
    on_fault: Callable[[Exception], None],
) -> GradientNorms:
    norms = _measure(held, as_norm_type(norm_type), on_fault)
    if not survey.reductions:
        return norms
    # Without a gradient this rank would have numbers where the others have tensors, and then go another way than they.
    on_host = norms.on_host and all(tensor is None or tensor.device.type == "cpu" for tensor in likely)
    return _reduce(norms, survey.reductions, on_host=on_host)


def _measure(gradients: Sequence[Tensor | None], p: float, on_fault: Callable[[Exception], None]) -> GradientNorms:
    """The norms of what this rank holds. Never raises, since the other ranks are on their way to the collective."""
    try:
        return gradient_norms(gradients, p)
    except Exception as fault:  # noqa: BLE001 -- as above
        on_fault(fault)
    norms = [math.nan] * len(gradients)
    try:
        for place, gradient in enumerate(gradients):
            empty = gradient is None or gradient.numel() == 0
            norms[place] = 0.0 if empty else float(torch.linalg.vector_norm(gradient, p, dtype=torch.float64))
    except Exception as fault:  # noqa: BLE001 -- what could not be measured is NaN, on all ranks
        on_fault(fault)
    return GradientNorms(norms, norm_of_norms(norms, p), p)


def _reduce(norms: GradientNorms, reductions: tuple[_Reduction, ...], *, on_host: bool) -> GradientNorms:
    """From the norms of this rank's shards to those of the whole layers."""
    p = norms.norm_type
    dtype = torch.float64 if all(reduction.device_type in IN_DOUBLE for reduction in reductions) else torch.float32
    if isinstance(norms.layer_norms, Tensor):
        vector = norms.layer_norms.to(dtype)
    else:
        vector = torch.tensor(norms.layer_norms, dtype=dtype, device="cpu")
    vector = _bits(vector) if p == math.inf else vector.pow(p)
    for reduction in reductions:
        vector = _all_reduce(vector, reduction, largest=p == math.inf)
    layer_norms = vector.view(dtype) if p == math.inf else vector.pow(1 / p)
    if on_host:
        numbers = layer_norms.tolist()
        return ShardedNorms(numbers, norm_of_norms(numbers, p), p, norms.dtype, reductions=reductions)
    global_norm = torch.linalg.vector_norm(layer_norms, p).to(norms.dtype)
    return ShardedNorms(layer_norms.to(norms.dtype), global_norm, p, norms.dtype, reductions=reductions)


def _bits(norms: Tensor) -> Tensor:
    """Floats that are not negative sort as their bits do, and NaN above infinity. Their own maximum may lose a NaN."""
    return norms.abs().view(torch.int64 if norms.dtype is torch.float64 else torch.int32)


def _all_reduce(vector: Tensor, reduction: _Reduction, *, largest: bool) -> Tensor:
    """The sum, or the maximum, over the ranks of one dimension; of a replicated layer each brings its share."""
    distributed = sys.modules["torch.distributed"]
    if vector.device.type != reduction.device_type:
        vector = vector.to(reduction.device_type)  # shards that are kept on the host
    size = reduction.group.size()
    if not largest and len(reduction.sharded) < vector.numel():
        vector = vector * _shares(tuple(reduction.sharded), vector.numel(), size, vector.dtype, vector.device)
    operation = distributed.ReduceOp.MAX if largest else distributed.ReduceOp.SUM
    distributed.all_reduce(vector, operation, group=reduction.group)
    return vector


@functools.lru_cache(maxsize=16)  # the same on every step, and it would have to be copied to the device
def _shares(sharded: tuple[int, ...], layers: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 for each sharded layer, and for each replicated one its share in the mean over ``size`` ranks."""
    shares = torch.full((layers,), 1 / size, dtype=dtype, device="cpu")
    shares[list(sharded)] = 1.0
    return shares.to(device)
