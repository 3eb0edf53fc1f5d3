"""What a fused optimizer is told for its coming step, and what is taken back after it.

torch's fused Adam, AdamW, SGD and Adagrad look at two tensors on the optimizer when they step: ``grad_scale``, by which
each gradient is divided (and written back), and ``found_inf``, which makes the step do nothing where it is exactly 1.
A GradScaler sets both, and deletes both after the step. Here a factor is multiplied into what is there and a skip is
joined with it; afterwards what was there is put back, and nothing is ever deleted that somebody else has set.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Whose own step reads the two tensors. A subclass with a step of its own may look at gradients before they are divided.
STEPS_THAT_DIVIDE = ("torch.optim.adam", "torch.optim.adamw", "torch.optim.sgd", "torch.optim.adagrad")

ABSENT: Any = object()  # the attribute is not there; None is a value of its own, which a GradScaler sets


class FusedStep:
    """One fused optimizer, between a ``tell`` before its step and a ``take_back`` after it.

    ``take_back`` belongs into the post-hook, and, since that does not run where the step raises, to the beginning of
    the next pre-hook. What somebody has replaced in the meantime is theirs and stays.
    """

    __slots__ = ("_optimizer", "_stop", "_told")

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._told: list[tuple[str, Tensor, Any]] = []  # name, what we set, what was there
        self._stop: Tensor | None = None  # 1.0 on the parameters' device, made once

    @classmethod
    def of(cls, optimizer: Optimizer) -> FusedStep | None:
        """The optimizer's fused step; None where a factor or a skip must be brought to it in another way."""
        divides = getattr(type(optimizer).step, "__module__", None) in STEPS_THAT_DIVIDE
        if divides and getattr(optimizer, "_step_supports_amp_scaling", False) and _all_fused(optimizer):
            return cls(optimizer)
        return None

    def tell(self, divisor: Tensor | None = None, skip: bool | Tensor = False) -> bool:
        """Have the coming step divide its gradients by ``divisor``, and do nothing where ``skip`` is true.

        To clip is to divide by ``max((norm + 1e-6) / max_norm, 1)``, the inverse of the clip coefficient. A ``divisor``
        is 0-d and finite in single precision. Nothing waits for a device. False where nothing could be told, since a
        parameter group is fused no longer (``load_state_dict`` may have said so): then multiply or set aside instead.
        """
        if self._told:
            self.take_back()  # an earlier evaluation of the same step's closure told it something else
        if not _all_fused(self._optimizer):
            return False
        if divisor is not None:
            self._set("grad_scale", self._with_scale(divisor))
        if isinstance(skip, Tensor) or skip:
            self._set("found_inf", self._with_found_inf(skip))
        return True

    def take_back(self) -> None:
        """Put back what was there before ``tell``; harmless when done twice, or with nothing told."""
        if not self._told:
            return
        told, self._told = self._told, []
        attributes = vars(self._optimizer)
        for name, ours, before in told:  # calls nothing of ours: whatever has failed, this is what tidies up
            if attributes.get(name) is not ours:
                continue
            if before is ABSENT:
                delattr(self._optimizer, name)
            else:
                setattr(self._optimizer, name, before)

    def skips_cleanly(self) -> bool:
        """Whether a step that ``found_inf`` skips leaves the optimizer as if it had not been called.

        Not so the first step of fused SGD with momentum, a GradScaler's own skip included: torch keeps momentum buffers
        that nothing has written to, and the next step adds whatever was in that memory. Set gradients aside there.
        """
        optimizer = self._optimizer
        for group in optimizer.param_groups:
            if group.get("momentum") and not any(
                optimizer.state.get(parameter, {}).get("momentum_buffer") is not None for parameter in group["params"]
            ):
                return False
        return True

    def _set(self, name: str, value: Tensor) -> None:
        self._told.append((name, value, vars(self._optimizer).get(name, ABSENT)))
        setattr(self._optimizer, name, value)

    def _with_scale(self, divisor: Tensor) -> Tensor:
        """The divisor in the single precision that the kernels insist on, times a loss scale that is there."""
        scale: Tensor | None = vars(self._optimizer).get("grad_scale")
        if scale is not None:
            here = divisor if divisor.device == scale.device else divisor.to(scale.device, non_blocking=True)
            divisor = scale * here
        return divisor if divisor.dtype is torch.float32 else divisor.float()

    def _with_found_inf(self, skip: bool | Tensor) -> Tensor:
        """Exactly 1.0 to skip and 0.0 to step: the kernels compare with 1, and would step on a 2."""
        if not isinstance(skip, Tensor):
            if self._stop is None:
                self._stop = torch.ones((), dtype=torch.float32, device=_device(self._optimizer))
            return self._stop
        found: Tensor | None = getattr(self._optimizer, "found_inf", None)
        if found is None:
            return skip.to(torch.bool).to(torch.float32)
        return skip.to(found.device, non_blocking=True).logical_or(found).to(torch.float32)


def put_attribute(owner: object, name: str, value: Any) -> None:
    """Make an attribute what was read with the default ABSENT."""
    if value is not ABSENT:
        setattr(owner, name, value)
    elif name in vars(owner):
        delattr(owner, name)


def _all_fused(optimizer: Optimizer) -> bool:
    return all(group.get("fused") for group in optimizer.param_groups)


def _device(optimizer: Optimizer) -> torch.device:
    parameter: Tensor = optimizer.param_groups[0]["params"][0]
    return parameter.device
