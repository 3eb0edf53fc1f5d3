"""Clip gradients in place, and say what was done.

A strategy takes gradients whose norms are known and returns the clip coefficient. Nothing here knows of runs, ranks or
HTTP, and nothing waits for a device. What is not finite is kept as torch keeps it: a NaN norm turns every gradient into
NaN, an infinite one turns them into zeros, and the infinite elements into NaN.
"""

from __future__ import annotations

import math
import types
import warnings
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gradvitals.cpu_norms import norm_of_norms
from gradvitals.distributed import is_sharded, measure_shards_
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.norms import EPSILON, FLOAT32_MAX, GradientNorms, as_norm_type, distinct, gradient_norms

SURELY_BELOW = 1 - 1e-4  # of max_norm: no way to round a norm reaches the limit from here


class SingleNumber:
    """A 0-d tensor on the CPU that takes one number after the other: to make a new one costs as much as a norm."""

    __slots__ = ("_memory", "_tensor")

    def __init__(self) -> None:
        self._memory = array("f", (1.0,))
        self._tensor = torch.frombuffer(self._memory, dtype=torch.float32)[0]

    def set(self, number: float) -> Tensor:
        """The tensor, which is now this number; always the same one."""
        self._memory[0] = number
        return self._tensor


class AlreadyAppliedError(Exception):
    """A strategy has changed the gradients, which must not happen twice, and failed after that."""


@runtime_checkable
class ClipStrategy(Protocol):
    """A way to clip. ``max_norm`` is infinite where the global norm is not limited."""

    @property
    def max_norm(self) -> float: ...

    def clip_(
        self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0
    ) -> Tensor | float:
        """Clip ``gradients`` in place, and return the clip coefficient: norm after / norm before, in [0, 1].

        ``norms`` are those of ``gradients`` divided by the ``grad_scale`` that is still in them.
        """

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        """The same through torch's own function alone: the way out when ours has failed."""


@dataclass(frozen=True, slots=True)
class ClipByGlobalNorm:
    """Scale all gradients by one coefficient, so that their norm as one vector is at most ``max_norm``."""

    max_norm: float
    norm_type: float = 2.0

    def factor(self, norms: GradientNorms) -> Tensor | float:
        """``min(1, max_norm / (norm + 1e-6))``. A loss scale does not matter."""
        if isinstance(norms.global_norm, float):
            if norms.global_norm + EPSILON < self.max_norm * SURELY_BELOW:
                return 1.0
            return _torchs_factor(self.max_norm, float(norms.torchs_global_norm()), norms.clip_dtype)
        return (self.max_norm / (norms.global_norm + EPSILON)).clamp(max=1.0)

    def clip_(
        self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0
    ) -> Tensor | float:
        """Multiply by ``factor``, which is the clip coefficient; not at all where it is known to be 1."""
        factor = self.factor(norms)
        if not isinstance(factor, float):
            scale_(gradients, factor)
        elif factor != 1.0:
            # The last first, still in the cache. A tensor, since torch would bring a number to each gradient alone.
            torch._foreach_mul_(
                list(gradients[::-1]), torch.scalar_tensor(factor, dtype=norms.clip_dtype, device="cpu")
            )
        return factor

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        if not isinstance(grad_scale, Tensor):
            torch.nn.utils.clip_grad_norm_(parameters, self.max_norm * grad_scale, self.norm_type)
            return
        # As torch's clip does it, without a float() that waits for the device and that no captured graph could hold.
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        global_norm = torch.nn.utils.get_total_norm(gradients, self.norm_type) / grad_scale
        torch.nn.utils.clip_grads_with_norm_(parameters, self.max_norm, global_norm)


@dataclass(frozen=True, slots=True)
class ClipByValue:
    """Limit each element to [-clip_value, clip_value]."""

    clip_value: float
    max_norm: float = math.inf

    def clip_(
        self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0
    ) -> Tensor | float:
        """Clamp as torch does (NaN stays NaN), and measure again what was changed, since that is not known before."""
        limit = self.clip_value * grad_scale
        if isinstance(norms.layer_norms, Tensor):
            _clamp_(gradients, limit)
            return norm_after_by_before(gradients, norms, grad_scale)
        limit, scale = float(limit), float(grad_scale)
        # No element is larger than its layer's p-norm: where that is within the limit, none has to be touched.
        beyond = [place for place, norm in enumerate(norms.layer_norms) if not norm * scale <= limit * SURELY_BELOW]
        if not beyond:
            return 1.0
        touched = [gradients[place] for place in beyond]
        _clamp_(touched, limit)
        after = list(norms.layer_norms)
        again = norms.again(touched, beyond).divided_by(scale).layer_norms
        for place, norm in zip(beyond, again, strict=True):
            after[place] = float(norm)
        return _quotient(norm_of_norms(after, norms.norm_type), norms.global_norm)

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        if not isinstance(grad_scale, Tensor):
            torch.nn.utils.clip_grad_value_(parameters, self.clip_value * grad_scale)
            return
        # As above: a captured graph could not hold a float().
        with torch.no_grad():
            _clamp_(
                [parameter.grad for parameter in parameters if parameter.grad is not None], grad_scale * self.clip_value
            )


@dataclass(frozen=True, slots=True)
class ClipByLayerNorm:
    """Scale each layer's gradient by a coefficient of its own, so that no layer's norm is above ``max_layer_norm``."""

    max_layer_norm: float
    norm_type: float = 2.0
    max_norm: float = math.inf

    def clip_(
        self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0
    ) -> Tensor | float:
        """Multiply each gradient by ``min(1, max_layer_norm / (its norm + 1e-6))``."""
        if isinstance(norms.layer_norms, Tensor):
            factors = (self.max_layer_norm / (norms.layer_norms + EPSILON)).clamp(max=1.0)
            each = zip(factors.to(norms.dtype).unbind(), gradients, strict=True)
            torch._foreach_mul_(list(gradients), [factor.to(gradient.device) for factor, gradient in each])
            return _quotient(torch.linalg.vector_norm(norms.layer_norms * factors, norms.norm_type), norms.global_norm)
        after = []
        for gradient, norm in zip(gradients, norms.layer_norms, strict=True):
            factor = _torchs_factor(self.max_layer_norm, norm, norms.dtype)
            if not factor >= 1.0:  # or NaN
                gradient.mul_(factor)
                norm *= factor
            after.append(norm)
        return _quotient(norm_of_norms(after, norms.norm_type), norms.global_norm)

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        each = ClipByGlobalNorm(self.max_layer_norm, self.norm_type)
        for parameter in parameters:
            each.clip_like_torch_([parameter], grad_scale)


@dataclass(frozen=True, slots=True)
class ClipByFunction:
    """A function of the user's changes the gradients in place as it likes: ``function(gradients, norms)``."""

    function: Callable[[Sequence[Tensor], GradientNorms], object]
    max_norm: float = math.inf

    def clip_(
        self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0
    ) -> Tensor | float:
        """Call it, and measure again what it has done; raises AlreadyAppliedError where only that fails."""
        self._call(gradients, norms, grad_scale)
        try:
            return norm_after_by_before(gradients, norms, grad_scale)
        except Exception as fault:
            raise AlreadyAppliedError(repr(fault)) from fault

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not all(gradient.is_cpu for gradient in gradients):  # what waits cannot be captured in a graph
            with torch.no_grad():
                self._call(gradients, gradient_norms(gradients).divided_by(grad_scale), grad_scale)
            return
        for gradient in gradients:
            gradient.div_(grad_scale)
        norms = [float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) for gradient in gradients]
        self.function(gradients, GradientNorms(norms, math.hypot(*norms), 2.0))
        for gradient in gradients:
            gradient.mul_(grad_scale)

    def _call(self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float) -> None:
        """With gradients that are those of the loss: a limit of the user's knows nothing of a loss scale."""
        if isinstance(grad_scale, float) and grad_scale == 1.0:
            self.function(gradients, norms)
            return
        scale = grad_scale if isinstance(grad_scale, Tensor) else torch.scalar_tensor(grad_scale, device="cpu")
        scale_(gradients, scale.reciprocal())
        try:
            self.function(gradients, norms)
        finally:
            scale_(gradients, scale)


@dataclass(frozen=True, slots=True)
class ObserveOnly:
    """Leave the gradients as they are."""

    max_norm: float = math.inf

    def clip_(
        self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0
    ) -> Tensor | float:
        """Nothing is clipped: the coefficient is 1."""
        return 1.0

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        """Nothing is clipped."""


def choose_strategy(
    max_norm: float | None, clip_value: float | None, norm_type: float = 2.0, strategy: object = None
) -> ClipStrategy:
    """The strategy that the arguments of ``watch`` name; no limit, or an infinite one, means observe only.

    Raises ConfigurationError where more than one is given, or a limit is not a number above 0.
    """
    if sum(given is not None for given in (max_norm, clip_value, strategy)) > 1:
        raise ConfigurationError("max_norm, clip_value and strategy are ways to clip: choose one of them")
    norm_type = as_norm_type(norm_type)
    if isinstance(strategy, ClipStrategy) and not isinstance(strategy, type):
        for limit in ("max_norm", "clip_value", "max_layer_norm"):
            _as_limit(limit, getattr(strategy, limit, math.inf))
        return strategy
    if callable(strategy) and not isinstance(strategy, type):
        return ClipByFunction(strategy)
    if strategy is not None:
        raise ConfigurationError(
            f"strategy must be a ClipStrategy or a function of gradients and norms, not {strategy!r}"
        )
    if max_norm is not None and _as_limit("max_norm", max_norm) < math.inf:
        return ClipByGlobalNorm(float(max_norm), norm_type)
    if clip_value is not None and _as_limit("clip_value", clip_value) < math.inf:
        return ClipByValue(float(clip_value))
    return ObserveOnly()


def untouched_below(strategy: ClipStrategy) -> float:
    """A global norm, on the host and without a loss scale, below which the strategy surely changes nothing."""
    if type(strategy) is ClipByGlobalNorm:  # a subclass may do otherwise
        return strategy.max_norm * SURELY_BELOW - EPSILON
    return math.inf if type(strategy) is ObserveOnly else 0.0


@torch.no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Clip the norm of all gradients as one vector; torch's ``torch.nn.utils.clip_grad_norm_`` with a better norm.

    Signature and outcome are torch's, except that the norm is right where torch's is not (large tensors on the CPU,
    half precision, squares that overflow), a parameter given twice counts once, gradients may be sparse, and on the CPU
    nothing is multiplied where nothing is clipped. Of parameters that are spread over ranks (DTensors) all ranks call
    this, and each has the norm of the whole. Returns the norm before clipping, 0-d and plain, on the device of the
    first gradient. Raises ConfigurationError for a norm_type that is not above 0, and, only if ``error_if_nonfinite``
    asks for it, NonFiniteGradientError (a RuntimeError, as in torch) before anything is changed.
    """
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = distinct(parameters)
    if is_generator and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    if any(map(is_sharded, parameters)):  # asked of parameters, which are on all ranks
        gradients, norms = measure_shards_(parameters, as_norm_type(norm_type))
    else:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = gradient_norms(gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(norms.global_norm):  # waits for the device, as in torch
        raise NonFiniteGradientError(
            f"the norm of the gradients is {float(norms.global_norm)} (norm_type {norm_type}), so they cannot be "
            "clipped; with error_if_nonfinite=False they are scaled by it all the same"
        )
    factor = ClipByGlobalNorm(float(max_norm)).factor(norms)
    if isinstance(factor, float):
        if factor != 1.0:
            factor = torch.scalar_tensor(factor, dtype=norms.clip_dtype, device="cpu")
            scale_(gradients, factor, foreach=foreach is not False)
        # The device is named, since a script may have set a default one.
        return torch.scalar_tensor(float(norms.torchs_global_norm()), dtype=norms.clip_dtype, device="cpu")
    scale_(gradients, factor, foreach=foreach is not False)
    return torch.as_tensor(norms.global_norm)


def _as_limit(name: str, value: float) -> float:
    try:
        limit = float(value)
    except (TypeError, ValueError):
        limit = math.nan
    if not limit > 0:
        raise ConfigurationError(f"{name} must be a number above 0, not {value!r}; leave it out to only observe")
    return limit


def _torchs_factor(max_norm: float, norm: float, dtype: torch.dtype) -> float:
    """What torch's clip multiplies by where it finds this norm, bit for bit, without its five calls.

    In single precision each of its operations is rounded. A double holds every sum, quotient and product of two singles
    well enough that rounding it again gives what one rounding would (Figueroa, 1995: 53 >= 2 * 24 + 2 bits).
    """
    if not norm < math.inf:
        return norm if math.isnan(norm) else 0.0
    if dtype is torch.float64 or norm > FLOAT32_MAX:
        return min(1.0 / (norm + EPSILON) * max_norm, 1.0)
    inverse = _single(1.0 / _single(_single(norm) + SINGLE_EPSILON))
    factor = inverse * max_norm
    return min(_single(inverse * _single(max_norm)), 1.0) if factor < 2.0 else 1.0


def _single(value: float) -> float:
    """Rounded to single precision."""
    return array("f", (value,))[0]


SINGLE_EPSILON = _single(EPSILON)


def norm_after_by_before(
    gradients: Sequence[Tensor], before: GradientNorms, grad_scale: Tensor | float
) -> Tensor | float:
    """The clip coefficient of gradients that were changed in place, by measuring them again; at most 1."""
    return _quotient(before.again(gradients).divided_by(grad_scale).global_norm, before.global_norm)


def _quotient(after: Tensor | float, before: Tensor | float) -> Tensor | float:
    """Norm after / norm before, at most 1; 1 where there was nothing to clip."""
    if isinstance(after, float) and isinstance(before, float):
        return min(after / before, 1.0) if before else 1.0
    before = torch.as_tensor(before)
    return torch.where(before == 0, 1.0, after / before).clamp(max=1.0)


def scale_(gradients: Sequence[Tensor], factor: Tensor, *, foreach: bool = True) -> None:
    """Multiply all gradients, on whichever devices, by ``factor``, 0-d.

    On a device the factor is rounded to their dtype, as in torch's clip: else there is one kernel for each gradient.
    """
    for (device, dtype), tensors in _by_kind(gradients).items():
        on_device = factor if device.type == "cpu" and factor.is_cpu else factor.to(device, dtype)
        if foreach:
            torch._foreach_mul_(tensors, on_device)
        else:
            for tensor in tensors:
                tensor.mul_(on_device)


def _by_kind(gradients: Iterable[Tensor]) -> dict[tuple[torch.device, torch.dtype], list[Tensor]]:
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for gradient in gradients:
        kinds.setdefault((gradient.device, gradient.dtype), []).append(gradient)
    return kinds


def _clamp_(gradients: Sequence[Tensor], limit: Tensor | float) -> None:
    """Clamp each element, as torch's ``clip_grad_value_`` does, and also those of sparse gradients."""
    if isinstance(limit, float):
        on_devices = [g for g in gradients if not g.is_cpu and g.layout is torch.strided]
        for tensors in _by_kind(on_devices).values():
            torch._foreach_clamp_min_(tensors, -limit)
            torch._foreach_clamp_max_(tensors, limit)
        if on_devices:
            gradients = [g for g in gradients if g.is_cpu or g.layout is not torch.strided]
    for gradient in gradients:
        if gradient.layout is torch.sparse_coo:
            summed = gradient.coalesce()  # an element is the sum of its duplicates
            _clamp_([summed.values()], limit)
            if summed is not gradient:
                gradient.copy_(summed)
        elif isinstance(limit, Tensor):
            bound = limit.to(gradient.device, gradient.dtype)
            gradient.clamp_(min=-bound, max=bound)
        else:
            gradient.clamp_(min=-limit, max=limit)
