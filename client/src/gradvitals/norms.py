"""Norms of gradients: one for each layer and one for all of them, before anything is clipped.

Tensors in, tensors out. Nothing here knows of runs or clipping, changes a gradient or waits for a device. The numbers
are better than torch's: its CPU kernel adds one tensor up in single precision, which is 1e-3 off at twenty million
elements, and answers infinity where only the squares of a gradient overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradvitals.errors import ConfigurationError

# Single precision is added up over this many elements only, rows in double precision. The error of a 2-norm is then
# below 5e-7 also where all elements are equal and every addition rounds the same way (with rows of 65,536: 4e-5).
ROW = 1024
# Below this a norm may have lost squares to underflow: (1e-16)^2 is where rounding to 1e-45 begins to matter.
TINY = 1e-15
ROWS_JOINED = 128  # half a megabyte: stays in a cache
HALF = (torch.float16, torch.bfloat16)
PLAIN = (1.0, 2.0, torch.inf)  # norm types whose sums stay in range unless a square does not


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
    if not groups:
        return GradientNorms(torch.zeros(len(gradients), dtype=torch.float64), torch.zeros(()), p)

    device = next(iter(groups))[0]
    double = any(dtype in (torch.float64, torch.complex128) for _, dtype in groups)
    on_cpu = all(group_device.type == "cpu" for group_device, _ in groups)
    layer_norms = torch.zeros(len(gradients), dtype=torch.float64 if double or on_cpu else torch.float32, device=device)
    for places, tensors in groups.values():
        norms = _cpu_norms(tensors, p) if tensors[0].is_cpu else _device_norms(tensors, p)
        norms = norms.to(device, layer_norms.dtype)
        if len(places) == len(gradients):
            layer_norms = norms
        else:
            layer_norms.index_copy_(0, torch.tensor(places, device=device), norms)
    global_norm = _norm_of_norms(layer_norms, p)
    return GradientNorms(layer_norms, global_norm if double else _narrow(global_norm), p)


def distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each tensor once, in order: a tied weight has one gradient, which counts and is clipped once."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def _norm_of_norms(norms: Tensor, norm_type: float) -> Tensor:
    """The norm of several vectors as one: the p-norm of their p-norms ([L] -> 0-d)."""
    total: Tensor = torch.linalg.vector_norm(norms, norm_type)
    if norms.is_cpu and (norm_type not in PLAIN or not TINY < float(total) < torch.inf):
        return _scaled_norm(norms, norm_type)
    return total


def _plain(gradient: Tensor) -> Tensor:
    """A strided, real tensor with the same norm."""
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.coalesce().values()
    elif gradient.layout is not torch.strided:
        gradient = gradient.values()
    return gradient.abs() if gradient.is_complex() else gradient


def _narrow(global_norm: Tensor) -> Tensor:
    """To float32, in which torch clips float32 gradients; a finite norm that does not fit stays as it is."""
    narrow = global_norm.to(torch.float32)
    if global_norm.is_cpu and torch.isinf(narrow) and torch.isfinite(global_norm):
        return global_norm
    return narrow


def _device_norms(tensors: list[Tensor], p: float) -> Tensor:
    """Norms of tensors of one dtype on an accelerator, [k], without waiting for it."""
    return torch.stack(torch._foreach_norm(tensors, p, dtype=_precise(tensors[0].dtype)))


def _cpu_norms(tensors: list[Tensor], p: float) -> Tensor:
    """Norms of tensors of one dtype on the CPU, [k] float64. May look at values, since nobody has to wait for them."""
    if p == torch.inf:
        return torch.stack([_largest(tensor) for tensor in tensors]).to(torch.float64)
    if p not in PLAIN:
        return torch.stack([_scaled_norm(tensor, p) for tensor in tensors])
    norms = _row_wise_norms(tensors, p)
    for place in (~((norms > TINY) & (norms < torch.inf))).nonzero().flatten().tolist():
        norms[place] = _scaled_norm(tensors[place], p)
    return norms


def _row_wise_norms(tensors: list[Tensor], p: float) -> Tensor:
    """Norms whose rounding errors stay small, but which may overflow or underflow, [k] float64."""
    short: list[Tensor] = []
    short_owners: list[int] = []
    blocks: list[Tensor] = []
    block_owners: list[int] = []
    for owner, tensor in enumerate(tensors):
        if tensor.numel() > ROW:
            rest = tensor.numel() % ROW
            flat = _flat(tensor) if rest or not tensor.is_contiguous() else tensor
            blocks.append((flat[:-rest] if rest else flat).view(-1, ROW))
            block_owners.append(owner)
            if not rest:
                continue
            tensor = flat[-rest:]
        short.append(tensor)
        short_owners.append(owner)
    powers = torch.zeros(len(tensors), dtype=torch.float64)
    if short:
        norms = torch.stack(torch._foreach_norm(short, p, dtype=_precise(tensors[0].dtype))).to(torch.float64)
        if not blocks:
            return norms
        powers.index_add_(0, torch.tensor(short_owners), norms.pow(p))
    counts = torch.tensor([block.shape[0] for block in blocks])
    owners = torch.repeat_interleave(torch.tensor(block_owners), counts)
    powers.index_add_(0, owners, _block_norms(blocks, p).to(torch.float64).pow(p))
    return powers.pow(1 / p)


def _block_norms(blocks: list[Tensor], p: float) -> Tensor:
    """The norm of each row of all blocks ([r, ROW] each), in order.

    Small blocks are first copied together, since a copy that stays in the cache costs less than a call. The copy also
    turns half precision into single precision: a kernel that converts as it reads is slower than both.
    """
    dtype = blocks[0].dtype
    if dtype in HALF:
        blocks = [piece for block in blocks for piece in torch.split(block, ROWS_JOINED)]
    joined = torch.empty(ROWS_JOINED, ROW, dtype=_precise(dtype) or dtype)
    norms: list[Tensor] = []
    for batch in _batches(blocks):
        rows = batch[0]
        if len(batch) > 1 or dtype in HALF:
            rows = torch.cat(batch, out=joined[: sum(block.shape[0] for block in batch)])
        norms.append(torch.linalg.vector_norm(rows, p, dim=1))
    return torch.cat(norms)


def _batches(blocks: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive blocks of together at most ``ROWS_JOINED`` rows; a longer one alone."""
    batch: list[Tensor] = []
    rows = 0
    for block in blocks:
        if batch and rows + block.shape[0] > ROWS_JOINED:
            yield batch
            batch, rows = [], 0
        batch.append(block)
        rows += block.shape[0]
    yield batch


def _precise(dtype: torch.dtype) -> torch.dtype | None:
    """What half precision is measured in; None where the dtype itself will do."""
    return torch.float32 if dtype in HALF else None


def _flat(tensor: Tensor) -> Tensor:
    """The elements in the order in which they lie in memory, so that a channels-last gradient is not copied."""
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
    return tensor.reshape(-1)


def _largest(tensor: Tensor) -> Tensor:
    """The largest absolute value, 0-d; NaN where there is one. Several times faster than torch's infinity norm."""
    smallest, largest = torch.aminmax(tensor)
    return torch.maximum(-smallest, largest)


def _scaled_norm(tensor: Tensor, p: float) -> Tensor:
    """The p-norm in double precision, in units of the largest element, so that no power leaves its range; slow."""
    largest = float(_largest(tensor))
    if not 0 < largest < torch.inf or p == torch.inf:
        return torch.tensor(largest, dtype=torch.float64)
    chunks = torch.split(_flat(tensor), ROWS_JOINED * ROW)
    parts = [torch.linalg.vector_norm(chunk.to(torch.float64) / largest, p) for chunk in chunks]
    norm: Tensor = largest * torch.linalg.vector_norm(torch.stack(parts), p)
    return norm
