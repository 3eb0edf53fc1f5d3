"""Norms of gradients: one for each layer and one for all of them, before anything is clipped.

Nothing here knows of runs or clipping, changes a gradient or waits for a device. On the CPU norms are numbers, and
better than torch's, whose kernel adds one tensor up in single precision: 1e-3 off at twenty million elements, and
infinite where only the squares of a gradient overflow. On a device they are tensors that stay there.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradvitals.cpu_norms import HALF, Plan, cpu_norms, norm_of_norms
from gradvitals.errors import ConfigurationError

EPSILON = 1e-6  # torch's: keeps the quotient finite where the norm is zero
FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(slots=True)  # not frozen, which would take longer to make than the rest of a small step's bookkeeping
class GradientNorms:
    """The norms of one set of gradients, before clipping: numbers where all are on the CPU, else tensors."""

    layer_norms: list[float] | Tensor  # [L]; 0.0 where there is no gradient
    global_norm: float | Tensor  # of all gradients as one vector; a tensor is 0-d
    norm_type: float
    dtype: torch.dtype = torch.float32  # in which torch would clip
    torchs: bool = False  # whether the layer norms are torch's own, bit for bit

    @property
    def on_host(self) -> bool:
        """Whether the norms are numbers."""
        return isinstance(self.layer_norms, list)

    def divided_by(self, scale: Tensor | float) -> GradientNorms:
        """The norms of the same gradients without their loss scale."""
        if isinstance(self.layer_norms, list):
            scale = float(scale)
            layer_norms = [norm / scale for norm in self.layer_norms]
            return replace(self, layer_norms=layer_norms, global_norm=float(self.global_norm) / scale, torchs=False)
        if isinstance(scale, Tensor):
            scale = scale.to(self.layer_norms.device)
        global_norm = torch.as_tensor(self.global_norm / scale).to(self.layer_norms.dtype)
        return replace(self, layer_norms=self.layer_norms / scale, global_norm=global_norm, torchs=False)

    def again(self, gradients: Sequence[Tensor], places: Sequence[int] | None = None) -> GradientNorms:
        """Measure some of the same layers once more, after something changed them. ``places``: which; None: all."""
        return gradient_norms(gradients, self.norm_type)

    def torchs_global_norm(self) -> float | Tensor:
        """The global norm as torch's clip would have it: bit for bit where its own layer norms were measured."""
        if not self.torchs or not isinstance(self.layer_norms, list):
            return self.global_norm
        double = self.dtype is torch.float64
        layer_norms = torch.frombuffer(array("d" if double else "f", self.layer_norms), dtype=self.dtype)
        norm = float(torch.linalg.vector_norm(layer_norms, self.norm_type))
        # Where only the squares of the layers' norms overflow, torch's clip would make zeros of the gradients.
        return norm if norm < math.inf or not self.global_norm < math.inf else self.global_norm

    @property
    def clip_dtype(self) -> torch.dtype:
        """In what torch would multiply: in single precision, unless a finite norm would become infinite there."""
        return torch.float64 if FLOAT32_MAX < self.global_norm < math.inf else self.dtype


def as_norm_type(norm_type: float | str) -> float:
    """The p of a p-norm as a number: any p > 0, infinity or "inf" included. Raises ConfigurationError otherwise."""
    try:
        p = float(norm_type)
    except (TypeError, ValueError):
        p = math.nan
    if not p > 0:
        raise ConfigurationError(f"norm_type must be a number above 0 or infinity, not {norm_type!r}")
    return p


def uniform_norms(gradients: list[Tensor], p: float, plan: Plan | None = None) -> GradientNorms:
    """Measure real, strided, non-empty gradients of one dtype on the CPU; the short way for a monitor's every step."""
    if not gradients:
        return GradientNorms([], 0.0, p)
    norms, torchs = cpu_norms(gradients, p, plan)
    dtype = torch.float64 if gradients[0].dtype is torch.float64 else torch.float32
    return GradientNorms(norms, norm_of_norms(norms, p), p, dtype, torchs)


@torch.no_grad()
def gradient_norms(gradients: Sequence[Tensor | None], norm_type: float = 2.0) -> GradientNorms:
    """Measure gradients in one pass: the norm of each, and of all of them as one vector.

    ``gradients`` may mix devices and dtypes, be sparse (what counts is the sum of duplicates), empty or None. Half
    precision is measured in single precision. On the CPU a finite gradient has a finite norm, also where its squares
    overflow; on another device it is torch's own. Tensors are on the device of the first gradient, as in torch.
    """
    p = as_norm_type(norm_type)
    present = [gradient for gradient in gradients if gradient is not None and gradient.numel()]
    if len(present) == len(gradients) and _is_uniform(present):
        return uniform_norms(present, p)
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[int], list[Tensor]]] = {}
    for place, gradient in enumerate(gradients):
        if gradient is None or gradient.numel() == 0:
            continue
        places, tensors = groups.setdefault((gradient.device, gradient.dtype), ([], []))
        places.append(place)
        tensors.append(_plain(gradient))
    double = any(dtype in (torch.float64, torch.complex128) for _, dtype in groups)
    dtype = torch.float64 if double else torch.float32
    if all(device.type == "cpu" for device, _ in groups):
        norms = [0.0] * len(gradients)
        torchs = False
        for places, tensors in groups.values():
            values, torchs = cpu_norms(tensors, p)
            for place, norm in zip(places, values, strict=True):
                norms[place] = norm
        # Torch leaves out what is missing, which would be added up in another order.
        torchs = torchs and len(groups) == 1 and len(tensors) == len(gradients)
        return GradientNorms(norms, norm_of_norms(norms, p), p, dtype, torchs)

    device = next(iter(groups))[0]
    layer_norms = _norms_on(device, dtype, groups.values(), len(gradients), p)
    return GradientNorms(layer_norms, torch.linalg.vector_norm(layer_norms, p), p, dtype)


def _is_uniform(gradients: list[Tensor]) -> bool:
    """Whether ``uniform_norms`` takes them: the common case, told with a third of the questions that groups take."""
    kinds = {(gradient.dtype, gradient.layout, gradient.is_cpu) for gradient in gradients}
    if len(kinds) != 1:
        return False
    dtype, layout, is_cpu = kinds.pop()
    return is_cpu and layout is torch.strided and dtype.is_floating_point


def distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each tensor once, in order: a tied weight has one gradient, which counts and is clipped once."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def _plain(gradient: Tensor) -> Tensor:
    """A strided, real tensor with the same norm."""
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.coalesce().values()
    elif gradient.layout is not torch.strided:
        gradient = gradient.values()
    return gradient.abs() if gradient.is_complex() else gradient


def _norms_on(
    device: torch.device, dtype: torch.dtype, groups: Iterable[tuple[list[int], list[Tensor]]], count: int, p: float
) -> Tensor:
    """Norms of tensors at their places, [count], on ``device`` and without waiting for it.

    Put together from 0-d tensors, as torch does: a list of places would have to be copied there, which waits.
    """
    norms: list[Tensor | None] = [None] * count
    for places, tensors in groups:
        values = _device_norms(tensors, p)
        if values[0].device != device or values[0].dtype != dtype:
            values = torch.stack(list(values)).to(device, dtype, non_blocking=True).unbind()
        for place, value in zip(places, values, strict=True):
            norms[place] = value
    # Asked by identity: `in` would compare each tensor, which takes a kernel.
    missing = any(norm is None for norm in norms)
    zero = torch.zeros((), dtype=dtype, device=device) if missing else None
    return torch.stack([zero if norm is None else norm for norm in norms])  # type: ignore[misc]  # there is a zero then


def _device_norms(tensors: list[Tensor], p: float) -> Sequence[Tensor]:
    """Norms of tensors of one dtype on one device, 0-d each."""
    if tensors[0].is_cpu:
        return torch.tensor(cpu_norms(tensors, p)[0], dtype=torch.float64, device="cpu").unbind()
    return torch._foreach_norm(tensors, p, dtype=torch.float32 if tensors[0].dtype in HALF else None)
