"""Clip gradients in place, and say what was done.

A strategy takes gradients whose norms are known and returns a Clip. Nothing here knows of runs, ranks or HTTP, and
nothing waits for a device. What is not finite is kept as torch keeps it: a NaN norm turns every gradient into NaN, an
infinite one turns them into zeros, and the infinite elements into NaN.
"""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.norms import GradientNorms, as_norm_type, distinct, gradient_norms

EPSILON = 1e-6  # torch's: keeps the quotient finite where the norm is zero


@dataclass(frozen=True, slots=True)
class Clip:
    """The outcome of clipping one set of gradients."""

    norms: GradientNorms  # before clipping
    clip_coefficient: Tensor  # 0-d: norm after / norm before, in [0, 1]; by norm it is the factor itself


class ClipStrategy(Protocol):
    """A way to clip. ``max_norm`` is infinite where the norm is not limited."""

    @property
    def max_norm(self) -> float: ...

    def clip_(self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0) -> Clip:
        """Clip ``gradients`` in place. ``norms`` are theirs divided by the ``grad_scale`` that is still in them."""

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        """The same through torch's own function alone: the way out when ours has failed."""


@dataclass(frozen=True, slots=True)
class ClipByGlobalNorm:
    """Scale all gradients by one coefficient, so that their norm as one vector is at most ``max_norm``."""

    max_norm: float
    norm_type: float = 2.0

    def clip_(self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0) -> Clip:
        """Multiply by ``min(1, max_norm / (norm + 1e-6))``. A loss scale changes the norms but not the coefficient."""
        coefficient = (self.max_norm / (norms.global_norm + EPSILON)).clamp(max=1.0)
        _scale_(gradients, coefficient)
        return Clip(norms, coefficient)

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        torch.nn.utils.clip_grad_norm_(parameters, self.max_norm * float(grad_scale), self.norm_type)


@dataclass(frozen=True, slots=True)
class ClipByValue:
    """Limit each element to [-clip_value, clip_value]."""

    clip_value: float
    max_norm: float = math.inf

    def clip_(self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0) -> Clip:
        """Clamp as torch does (NaN stays NaN), and measure again, since here the coefficient is not known before."""
        unclipped = Clip(norms, torch.ones_like(norms.global_norm))
        limit = self.clip_value * grad_scale
        if all(gradient.is_cpu for gradient in gradients):
            limit = float(limit)
            if float(gradient_norms(gradients, torch.inf).global_norm) <= limit:
                return unclipped
        _clamp_(gradients, limit)
        after = gradient_norms(gradients, norms.norm_type).divided_by(grad_scale).global_norm
        before = norms.global_norm
        return Clip(norms, torch.where(before == 0, 1.0, after / before).clamp(max=1.0))

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        torch.nn.utils.clip_grad_value_(parameters, self.clip_value * float(grad_scale))


@dataclass(frozen=True, slots=True)
class ObserveOnly:
    """Leave the gradients as they are."""

    max_norm: float = math.inf

    def clip_(self, gradients: Sequence[Tensor], norms: GradientNorms, grad_scale: Tensor | float = 1.0) -> Clip:
        """Nothing is clipped: the coefficient is 1."""
        return Clip(norms, torch.ones_like(norms.global_norm))

    def clip_like_torch_(self, parameters: Sequence[Tensor], grad_scale: Tensor | float = 1.0) -> None:
        """Nothing is clipped."""


def choose_strategy(max_norm: float | None, clip_value: float | None, norm_type: float = 2.0) -> ClipStrategy:
    """The strategy that the arguments of ``watch`` name; no limit, or an infinite one, means observe only.

    Raises ConfigurationError where both are given, or one is not a number above 0.
    """
    if max_norm is not None and clip_value is not None:
        raise ConfigurationError("max_norm and clip_value are both given: choose one of the two ways to clip")
    norm_type = as_norm_type(norm_type)
    if max_norm is not None and _as_limit("max_norm", max_norm) < math.inf:
        return ClipByGlobalNorm(float(max_norm), norm_type)
    if clip_value is not None and _as_limit("clip_value", clip_value) < math.inf:
        return ClipByValue(float(clip_value))
    return ObserveOnly()


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
    nothing is multiplied where nothing is clipped. Returns the norm before clipping, 0-d, on the device of the first
    gradient. Raises ConfigurationError for a norm_type that is not above 0, and, only if ``error_if_nonfinite`` asks
    for it, NonFiniteGradientError (a RuntimeError, as in torch) before anything is changed.
    """
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = distinct(parameters)
    if is_generator and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = gradient_norms(gradients, as_norm_type(norm_type))
    if error_if_nonfinite and not torch.isfinite(norms.global_norm):  # waits for the device, as in torch
        raise NonFiniteGradientError(
            f"the norm of the gradients is {float(norms.global_norm)} (norm_type {norm_type}), so they cannot be "
            "clipped; with error_if_nonfinite=False they are scaled by it all the same"
        )
    coefficient = (float(max_norm) / (norms.global_norm + EPSILON)).clamp(max=1.0)
    _scale_(gradients, coefficient, foreach=foreach is not False)
    return norms.global_norm


def _as_limit(name: str, value: float) -> float:
    try:
        limit = float(value)
    except (TypeError, ValueError):
        limit = math.nan
    if not limit > 0:
        raise ConfigurationError(f"{name} must be a number above 0, not {value!r}; leave it out to only observe")
    return limit


def _scale_(gradients: Sequence[Tensor], coefficient: Tensor, *, foreach: bool = True) -> None:
    """Multiply by ``coefficient``, unless it is on the CPU and 1, which would change no bit."""
    if coefficient.is_cpu and float(coefficient) == 1.0:
        return
    by_device: dict[torch.device, list[Tensor]] = {}
    for gradient in gradients:
        by_device.setdefault(gradient.device, []).append(gradient)
    for device, tensors in by_device.items():
        factor = coefficient.to(device)
        if foreach:
            torch._foreach_mul_(tensors, factor)
        else:
            for tensor in tensors:
                tensor.mul_(factor)


def _clamp_(gradients: Sequence[Tensor], limit: Tensor | float) -> None:
    """Clamp each element, as torch's ``clip_grad_value_`` does, and also those of sparse gradients."""
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
