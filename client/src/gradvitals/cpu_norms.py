"""The norms of tensors on the CPU, right at every size and in the whole range of their dtype.

Tensors in, numbers out. Values are looked at freely, since on the CPU nobody has to wait for them. Small tensors in
single precision go through torch's own kernel, so that a clip can be torch's bit for bit; what that kernel gets wrong
is measured with more care: large tensors, half precision, and squares that overflow or underflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Up to so many elements torch's kernel, which adds up in single precision, is within 1e-6 for normal, uniform and
# lognormal elements. Where every addition rounds the same way it is further off: 1.5e-5 with equal elements at this
# size, 3e-2 at 40 million, and 6e-5 at this size with one large element among small, equal ones. That is the price of a
# clip that is torch's bit for bit.
PLAIN = 16_384
# Longer tensors are added up over this many elements, and the sums in double precision: equal elements within 1e-6, and
# one large among small ones within 4e-6.
ROW = 1024
# A copy that stays in the cache costs less than a call: so many tensors of one shape become the rows of one.
FEWEST_TOGETHER = 8
LARGEST_TOGETHER = 4096  # elements of each
MOST_PLANLESS = 64  # of small tensors: to plan for them once costs more than it saves
BLOCK = 131_072  # elements that are copied together: half a megabyte of single precision
# Below this a norm may have lost squares to underflow: (1e-16)^2 is where rounding to 1e-45 begins to matter.
TINY = 1e-15
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Plan:
    """How tensors of known shapes and of one dtype are measured with the fewest calls: their places in the list."""

    together: tuple[tuple[int, ...], ...]  # small ones of one shape
    alone: tuple[int, ...]  # other small ones
    by_rows: tuple[int, ...]  # those for which single precision does not do
    starts: npt.NDArray[np.intp]  # of each of these its first row among all rows
    rows: int  # all rows
    scratch: Tensor  # what is measured together is copied here: memory that is new each time costs more than the copy

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Plan:
        """The plan for tensors such as these."""
        plain = ROW if tensors and tensors[0].dtype in HALF else PLAIN
        shapes: dict[torch.Size, list[int]] = {}
        alone: list[int] = []
        by_rows: list[int] = []
        for place, tensor in enumerate(tensors):
            numel = tensor.numel()
            if numel > plain:
                by_rows.append(place)
            elif numel > LARGEST_TOGETHER or not tensor.is_contiguous():  # torch adds up in the order of the memory
                alone.append(place)
            else:
                shapes.setdefault(tensor.shape, []).append(place)
        together: list[tuple[int, ...]] = []
        for shape, places in shapes.items():
            if len(places) < FEWEST_TOGETHER:
                alone += places
                continue
            most = BLOCK // shape.numel()
            together += [tuple(places[start : start + most]) for start in range(0, len(places), most)]
        elements = max((len(places) * tensors[places[0]].numel() for places in together), default=0)
        scratch = torch.empty(elements, dtype=tensors[0].dtype if tensors else None, device="cpu")
        rows = [-(-tensors[place].numel() // ROW) for place in by_rows]
        starts = np.cumsum([0, *rows[:-1]], dtype=np.intp)
        return cls(tuple(together), tuple(alone), tuple(by_rows), starts, sum(rows), scratch)


def cpu_norms(tensors: list[Tensor], p: float, plan: Plan | None = None) -> tuple[list[float], bool]:
    """The p-norm of each of several real, strided, non-empty tensors of one dtype.

    With them, whether all of these are torch's own norms, bit for bit. ``plan`` is ``Plan.of(tensors)``, if at hand.
    """
    if p == math.inf:
        return [_largest(tensor) for tensor in tensors], False
    if p == 1.0:
        return [_absolute_sum(tensor) for tensor in tensors], False
    if p != 2.0:
        return [_scaled_norm(tensor, p) for tensor in tensors], False
    half = tensors[0].dtype in HALF
    if plan is None and (half or len(tensors) > MOST_PLANLESS or max(map(Tensor.numel, tensors)) > PLAIN):
        plan = Plan.of(tensors)
    if plan is None or (len(plan.alone) == len(tensors) and not half):
        norms, torchs = [norm.item() for norm in torch._foreach_norm(tensors)], True
    else:
        norms, torchs = _norms_by_plan(tensors, plan), not plan.by_rows and not half
    if not (min(norms) > TINY and max(norms) < math.inf):  # a NaN may pass: it would stay one
        doubtful = [place for place, norm in enumerate(norms) if not TINY < norm < math.inf]
        for place, norm in zip(doubtful, _careful_norms([tensors[place] for place in doubtful]), strict=True):
            torchs = torchs and not norm < norms[place] == math.inf  # from which torch's clip would make zeros
            norms[place] = norm
    return norms, torchs


def norm_of_norms(norms: Sequence[float], p: float) -> float:
    """The norm of several vectors as one: the p-norm of their p-norms. NaN where one of them is."""
    whole = math.hypot(*norms) if p == 2.0 else _scaled_sum(norms, p)
    return math.nan if not whole < math.inf and any(map(math.isnan, norms)) else whole


def _scaled_sum(norms: Sequence[float], p: float) -> float:
    largest = max(norms, default=0.0)
    if not 0 < largest < math.inf or p == math.inf:
        return sum(norms) if any(map(math.isnan, norms)) else largest
    return float(largest * math.fsum((norm / largest) ** p for norm in norms) ** (1 / p))


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _norms_by_plan(tensors: list[Tensor], plan: Plan) -> list[float]:
    """2-norms whose rounding errors stay small at every size, but which may overflow or underflow."""
    norms = [0.0] * len(tensors)
    wide = torch.float32 if tensors[0].dtype in HALF else None
    for places in plan.together:
        shape = (len(places), *tensors[places[0]].shape)
        stacked = plan.scratch[: math.prod(shape)].view(shape)
        torch.stack([tensors[place] for place in places], out=stacked)
        stacked = stacked.view(len(places), -1)
        rows = torch.linalg.vector_norm(stacked if wide is None else stacked.to(wide), dim=1)
        for place, norm in zip(places, rows.tolist(), strict=True):
            norms[place] = norm
    if plan.alone:
        alone = torch._foreach_norm([tensors[place] for place in plan.alone], dtype=wide)
        for place, single in zip(plan.alone, alone, strict=True):
            norms[place] = single.item()
    if plan.by_rows:
        large = _norms_by_rows([tensors[place] for place in plan.by_rows], plan)
        for place, norm in zip(plan.by_rows, large, strict=True):
            norms[place] = norm
    return norms


def _norms_by_rows(tensors: list[Tensor], plan: Plan) -> list[float]:
    """2-norms of large tensors: of each row in single precision, of all rows in double precision.

    Raises RuntimeError, as torch does for small ones, where the plan was made for tensors of other shapes.
    """
    rows: list[Tensor] = []
    for tensor in tensors:
        if tensor.numel() % ROW == 0 and tensor.is_contiguous():
            rows.append(_norms_of_rows(tensor.view(-1, ROW)))
            continue
        flat = _flat(tensor)
        rest = flat.numel() % ROW
        rows.append(_norms_of_rows((flat[:-rest] if rest else flat).view(-1, ROW)))
        if rest:
            rows[-1] = torch.cat([rows[-1], _norms_of_rows(flat[-rest:].view(1, -1))])
    squares = np.square(torch.cat(rows).numpy(), dtype=np.float64)
    if len(squares) != plan.rows:
        raise RuntimeError(f"tensors of {len(squares)} rows, but the plan is for {plan.rows}")
    norms: list[float] = np.sqrt(np.add.reduceat(squares, plan.starts)).tolist()
    return norms


def _norms_of_rows(block: Tensor) -> Tensor:
    """The 2-norm of each row, [r]. Half precision is widened first: a kernel that converts as it reads is slower."""
    if block.dtype not in HALF:
        norms: Tensor = torch.linalg.vector_norm(block, dim=1)
        return norms
    pieces = torch.split(block, BLOCK // ROW)
    return torch.cat([torch.linalg.vector_norm(piece.float(), dim=1) for piece in pieces])


def _careful_norms(tensors: list[Tensor]) -> list[float]:
    """2-norms that neither overflow nor underflow unless they must; several times slower.

    Layers that get no gradient come here on every step, and so do those of a network whose gradients vanish: one call
    for all of them. The square of any smaller float is well within the range of a double.
    """
    if tensors[0].dtype is torch.float64:
        return [_scaled_norm(tensor, 2.0) for tensor in tensors]
    return [norm.item() for norm in torch._foreach_norm(tensors, dtype=torch.float64)]


def _flat(tensor: Tensor) -> Tensor:
    """The elements in the order in which they lie in memory, so that a channels-last gradient is not copied."""
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
    return tensor.reshape(-1)


def _largest(tensor: Tensor) -> float:
    """The largest absolute value; NaN where there is one. Several times faster than torch's infinity norm."""
    smallest, largest = torch.aminmax(tensor)
    return abs(torch.maximum(-smallest, largest).item())  # a zero without a sign


def _absolute_sum(tensor: Tensor) -> float:
    """The 1-norm. Torch's kernel adds one by one, 2e-4 off at 16,384 equal elements; its sum adds in pairs."""
    chunks = torch.split(_flat(tensor), BLOCK)
    whole = sum((chunk.float() if chunk.dtype in HALF else chunk).abs().sum().item() for chunk in chunks)
    return float(whole) if whole < math.inf else _scaled_norm(tensor, 1.0)


def _scaled_norm(tensor: Tensor, p: float) -> float:
    """The p-norm in double precision, in units of the largest element, so that no power leaves its range; slow."""
    largest = _largest(tensor)
    if not 0 < largest < math.inf:
        return largest
    chunks = torch.split(_flat(tensor), BLOCK)
    parts = [torch.linalg.vector_norm(chunk.to(torch.float64) / largest, p) for chunk in chunks]
    return largest * float(torch.linalg.vector_norm(torch.stack(parts), p))
