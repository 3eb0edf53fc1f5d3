"""Norms of gradients: one for each layer and one for all of them, before anything is clipped.

Tensors in, tensors out. Nothing here knows of runs or clipping, changes a gradient or waits for a device. On the CPU
the numbers are better than torch's, whose kernel adds one tensor up in single precision: 1e-3 off at twenty million
elements, and infinite where only the squares of a gradient overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradvitals.cpu_norms import HALF, cpu_norms, norm_of_norms
from gradvitals.errors import ConfigurationError

FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True, slots=True)
class GradientNorms:
    """The norms of one set of gradients, before clipping."""

    layer_norms: Tensor  # [L]; 0.0 where there is no gradient. float64 where all gradients are on the CPU
    global_norm: Tensor  # 0-d, of all gradients as one vector; float32 unless a gradient is float64, as in torch
    norm_type: float

    def divided_by(self, scale: Tensor | float) -> GradientNorms:
        """The norms of the same gradients without their loss scale."""
        if isinstance(scale, Tensor):
            scale = scale.to(self.layer_norms.device)
        global_norm = (self.global_norm / scale).to(self.global_norm.dtype)
        return GradientNorms(self.layer_norms / scale, global_norm, self.norm_type)


def as_norm_type(norm_type: float | str) -> float:
    """The p of a p-norm as a number: any p > 0, infinity or "inf" included. Raises ConfigurationError otherwise."""
    try:
        p = float(norm_type)
    except (TypeError, ValueError):
        p = float("nan")
    if not p > 0:
        raise ConfigurationError(f"norm_type must be a number above 0 or infinity, not {norm_type!r}")
    return p


@torch.no_grad()
def gradient_norms(gradients: Sequence[Tensor | None], norm_type: float = 2.0) -> GradientNorms:
    """Measure gradients in one pass: the norm of each, and of all of them as one vector.

    ``gradients`` may mix devices and dtypes, be sparse (what counts is the sum of duplicates), empty or None. Half
    precision is measured in single precision. On the CPU a finite gradient has a finite norm, also where its squares
    overflow; on another device it is torch's own. Results are on the device of the first gradient, as in torch.
    """
    p = as_norm_type(norm_type)
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[int], list[Tensor]]] = {}
    for place, gradient in enumerate(gradients):
        if gradient is None or gradient.numel() == 0:
            continue
        places, tensors = groups.setdefault((gradient.device, gradient.dtype), ([], []))
        places.append(place)
        tensors.append(_plain(gradient))
    double = any(dtype in (torch.float64, torch.complex128) for _, dtype in groups)
    if all(device.type == "cpu" for device, _ in groups):
        norms = np.zeros(len(gradients))
        for places, tensors in groups.values():
            norms[places] = cpu_norms(tensors, p)
        global_norm = norm_of_norms(norms, p)
        # As in torch, float32 gradients are clipped in float32, unless a finite norm would become infinite.
        double = double or FLOAT32_MAX < global_norm < torch.inf
        dtype = torch.float64 if double else torch.float32
        # The device is named, since a script may have set a default one.
        return GradientNorms(torch.from_numpy(norms), torch.tensor(global_norm, dtype=dtype, device="cpu"), p)

    device = next(iter(groups))[0]
    layer_norms = torch.zeros(len(gradients), dtype=torch.float64 if double else torch.float32, device=device)
    for places, tensors in groups.values():
        on_device = _device_norms(tensors, p).to(device, layer_norms.dtype)
        layer_norms.index_copy_(0, torch.tensor(places, device=device), on_device)
    return GradientNorms(layer_norms, torch.linalg.vector_norm(layer_norms, p), p)


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


def _device_norms(tensors: list[Tensor], p: float) -> Tensor:
    """Norms of tensors of one dtype on one device, [k], without waiting for it."""
    if tensors[0].is_cpu:
        return torch.from_numpy(cpu_norms(tensors, p))
    precise = torch.float32 if tensors[0].dtype in HALF else None
    return torch.stack(torch._foreach_norm(tensors, p, dtype=precise))
