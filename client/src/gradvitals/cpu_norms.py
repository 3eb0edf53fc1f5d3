"""The norms of tensors on the CPU, right at every size and in the whole range of their dtype.

Whole tensors in, float64 vectors out. Values are looked at freely, since on the CPU nobody has to wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Single precision is added up over this many elements only, rows in double precision. The error of a 2-norm is then
# below 5e-7 also where all elements are equal and every addition rounds the same way (with rows of 65,536: 4e-5).
ROW = 1024
# Below this a norm may have lost squares to underflow: (1e-16)^2 is where rounding to 1e-45 begins to matter.
TINY = 1e-15
ROWS_JOINED = 128  # half a megabyte: stays in a cache
HALF = (torch.float16, torch.bfloat16)
PLAIN = (1.0, 2.0, torch.inf)  # norm types whose sums stay in range unless a square does not

Norms = npt.NDArray[np.float64]


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def cpu_norms(tensors: list[Tensor], p: float) -> Norms:
    """The p-norm of each of several real, strided, non-empty tensors of one dtype, [k]."""
    if p == np.inf:
        return np.array([float(_largest(tensor)) for tensor in tensors])
    if p not in PLAIN:
        return np.array([_scaled_norm(tensor, p) for tensor in tensors])
    norms = _row_wise_norms(tensors, p)
    doubtful = np.flatnonzero(~((norms > TINY) & (norms < np.inf)))
    if len(doubtful):
        norms[doubtful] = _careful_norms([tensors[place] for place in doubtful], p)
    return norms


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def norm_of_norms(norms: Norms, p: float) -> float:
    """The norm of several vectors as one: the p-norm of their p-norms."""
    largest = float(norms.max(initial=0.0))
    if not 0 < largest < np.inf or p == np.inf:
        return largest
    return float(largest * ((norms / largest) ** p).sum() ** (1 / p))


def _row_wise_norms(tensors: list[Tensor], p: float) -> Norms:
    """Norms whose rounding errors stay small, but which may overflow or underflow, [k]."""
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
    powers = np.zeros(len(tensors))
    if short:
        norms = torch.stack(torch._foreach_norm(short, p, dtype=_precise(tensors[0].dtype)))
        powers[short_owners] = norms.numpy().astype(np.float64) ** p
    if blocks:
        starts = np.cumsum([0] + [block.shape[0] for block in blocks[:-1]])
        row_powers = _block_norms(blocks, p).numpy().astype(np.float64) ** p
        powers[block_owners] += np.add.reduceat(row_powers, starts)
    return powers if p == 1 else powers ** (1 / p)


def _careful_norms(tensors: list[Tensor], p: float) -> Norms:
    """Norms that neither overflow nor underflow unless they must, [k]; several times slower. ``p`` is 1 or 2.

    Layers that get no gradient come here on every step, and so do those of a network whose gradients vanish: one call
    for all of them. The square of any smaller float is well within the range of a double.
    """
    if tensors[0].dtype is torch.float64:
        return np.array([_scaled_norm(tensor, p) for tensor in tensors])
    return torch.stack(torch._foreach_norm(tensors, p, dtype=torch.float64)).numpy()


def _block_norms(blocks: list[Tensor], p: float) -> Tensor:
    """The norm of each row of all blocks ([r, ROW] each), in order.

    Small blocks are first copied together, since a copy that stays in the cache costs less than a call. The copy also
    turns half precision into single precision: a kernel that converts as it reads is slower than both.
    """
    dtype = blocks[0].dtype
    if dtype in HALF:
        blocks = [piece for block in blocks for piece in torch.split(block, ROWS_JOINED)]
    joined = torch.empty(ROWS_JOINED, ROW, dtype=_precise(dtype) or dtype, device="cpu")
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
    return torch.maximum(-smallest, largest).abs()  # a zero without a sign


def _scaled_norm(tensor: Tensor, p: float) -> float:
    """The p-norm in double precision, in units of the largest element, so that no power leaves its range; slow."""
    largest = float(_largest(tensor))
    if not 0 < largest < np.inf:
        return largest
    chunks = torch.split(_flat(tensor), ROWS_JOINED * ROW)
    parts = [torch.linalg.vector_norm(chunk.to(torch.float64) / largest, p) for chunk in chunks]
    return largest * float(torch.linalg.vector_norm(torch.stack(parts), p))
