"""The moment in an optimizer's step at which its gradients are final.

That is before the step, or, where the step is given a closure, inside it, each time the user's closure has run
backward. The hook changes nothing but the closure, and leaves nothing on the optimizer once removed.
"""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.optim import Optimizer

from gradvitals.errors import NonFiniteGradientError

# Called with the number of the evaluation within this step, from 0: only a closure can be evaluated more than once.
GradientsReady = Callable[[int], None]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class StepHook:
    """Calls ``ready`` in every step of one optimizer, and ``stepped`` after it, until ``remove``.

    ``ready`` may raise a NonFiniteGradientError, which ends the step. Anything else that goes wrong in here is given to
    ``rescue`` where the gradients were not seen to, else to ``tell``, and never reaches the training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        ready: GradientsReady,
        stepped: Callable[[], None],
        rescue: Callable[[Exception], None],
        tell: Callable[[Exception], None],
    ) -> None:
        self._ready = ready
        self._stepped = stepped
        self._rescue = rescue
        self._tell = tell
        self._stepping = False
        after = optimizer.register_step_post_hook(_Attached(self._after))
        # First of all that follow the step: what was taken from it is back before a hook of the user's zeroes it.
        hooks = optimizer._optimizer_step_post_hooks
        if isinstance(hooks, OrderedDict):
            hooks.move_to_end(after.id, last=False)
        self._handles = (optimizer.register_step_pre_hook(_Attached(self._before)), after)

    def remove(self) -> None:
        """Take the hook off the optimizer; harmless when done twice."""
        for handle in self._handles:
            handle.remove()

    # These are the outermost guards of a step: they call nothing of ours that they do not catch.

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        # A subclass whose step calls super().step() runs the hooks for both: only the outer one counts. The flag
        # alone would not do, since it stays set when a step raises.
        if self._stepping and self._is_inside_another_step(optimizer):
            return None
        self._stepping = True
        if len(args) > 1 and callable(args[1]):  # args begins with the optimizer itself
            return (args[0], self._wrap(args[1]), *args[2:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._wrap(kwargs["closure"])}
        self._see_to_gradients(0)
        return None

    def _after(self, *_: object) -> None:
        self._stepping = False
        try:
            self._stepped()
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._tell(fault)

    def _wrap(self, closure: Callable[..., Any]) -> Callable[..., Any]:
        evaluation = 0

        @functools.wraps(closure, updated=())
        def measured(*args: Any, **kwargs: Any) -> Any:
            nonlocal evaluation
            loss = closure(*args, **kwargs)
            self._see_to_gradients(evaluation)
            evaluation += 1
            return loss

        return measured

    def _see_to_gradients(self, evaluation: int) -> None:
        try:
            self._ready(evaluation)
        except NonFiniteGradientError:
            raise
        except Exception as fault:  # noqa: BLE001 -- as above
            self._rescue(fault)

    def _is_inside_another_step(self, optimizer: Optimizer) -> bool:
        try:
            return _inside_another_step(optimizer)
        except Exception as fault:  # noqa: BLE001 -- as above
            self._tell(fault)
            return False


def with_hooks(optimizer: Optimizer) -> Optimizer:
    """The optimizer that has hooks: a wrapper such as Accelerate's is an optimizer without any."""
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer) and "_optimizer_step_pre_hooks" not in vars(optimizer):
        return with_hooks(inner)
    return optimizer


class _Attached:
    """What hangs on the optimizer. A pickled or deep copy does nothing: the copy of an optimizer is not watched."""

    def __init__(self, hook: Callable[..., Arguments | None] | None = None) -> None:
        self._hook = hook
        self._uncompiled = torch.compiler.disable(hook) if hook else None  # type: ignore[no-untyped-call]  # torch's

    def __call__(self, *args: Any) -> Any:
        # A compiled step must call the hook, not compile it. Elsewhere the guard would cost more than a small clip.
        hook = self._uncompiled if torch.compiler.is_compiling() else self._hook
        return hook(*args) if hook else None

    def __reduce__(self) -> tuple[type[_Attached], tuple[()]]:
        return _Attached, ()


def _inside_another_step(optimizer: Optimizer) -> bool:
    """Whether two of torch's wrappers around this optimizer's step are on the stack. Slow; asked only on suspicion."""
    wrapper = Optimizer.profile_hook_step(_inside_another_step).__code__  # any function: the wrapper's code is the same
    wrappers = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and wrappers < 2:
        if frame.f_code is wrapper and frame.f_locals.get("self") is optimizer:
            wrappers += 1
        frame = frame.f_back
    return wrappers > 1
