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

WHY_UNCOMPILED = (
    "gradvitals clips and measures in Python, which breaks the graph of this step: compile it without fullgraph=True, "
    "or watch(..., hook=False) and call monitor.clip_() before it"
)


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
        unsettled: Callable[[], bool],
    ) -> None:
        self._ready = ready
        self._stepped = stepped
        self._unsettled = unsettled
        self._rescue = rescue
        self._tell = tell
        self._removed = False
        self._stepping = False
        self._evaluation = 0  # of the closure within this step
        self.compiled = False  # the step is: what its graphs were made for should stay as it is from step to step
        # Of a compiled step its newest closure, and what the step is given instead.
        self._measured: tuple[Callable[..., Any] | None, Callable[..., Any] | None] = (None, None)
        self._after_uncompiled = _uncompiled(self._after)
        after = optimizer.register_step_post_hook(_Attached(self._after, self._after_compiled))
        # First of all that follow the step: what was taken from it is back before a hook of the user's zeroes it.
        hooks = optimizer._optimizer_step_post_hooks
        if isinstance(hooks, OrderedDict):
            hooks.move_to_end(after.id, last=False)
        self._handles = (
            optimizer.register_step_pre_hook(_Attached(self._before, _uncompiled(self._before_compiled))),
            after,
        )

    def remove(self) -> None:
        """Take the hook off the optimizer; harmless when done twice, or in the middle of a step."""
        self._removed = True  # a closure that was wrapped for this step may still come back
        for handle in self._handles:
            handle.remove()

    # These are the outermost guards of a step: they call nothing of ours that they do not catch.

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        # A subclass whose step calls super().step() runs the hooks for both: only the outer one counts. The flag
        # alone would not do, since it stays set when a step raises.
        if self._stepping and self._is_inside_another_step(optimizer):
            return None
        self._stepping, self._evaluation = True, 0
        if len(args) > 1 and callable(args[1]):  # args begins with the optimizer itself
            return (args[0], self._wrap(args[1]), *args[2:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._wrap(kwargs["closure"])}
        self._see_to_gradients()
        return None

    def _before_compiled(self, *arguments: Any) -> Arguments | None:
        self.compiled = True
        return self._before(*arguments)

    def _after(self, *_: object) -> None:
        self._stepping = False
        try:
            self._stepped()
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._tell(fault)

    def _after_compiled(self, *_: object) -> None:
        """Becomes a part of the compiled step, so that a graph is broken only where there is something to take back."""
        if self._unsettled():
            self._after_uncompiled()

    def _wrap(self, closure: Callable[..., Any]) -> Callable[..., Any]:
        see_to_gradients = self._see_to_gradients
        if self.compiled:
            known, instead = self._measured
            if known is closure and instead is not None:  # another one would be compiled anew at each step
                return instead
            see_to_gradients = _uncompiled(see_to_gradients)

        @functools.wraps(closure, updated=())
        def measured(*args: Any, **kwargs: Any) -> Any:
            loss = closure(*args, **kwargs)
            see_to_gradients()
            return loss

        if self.compiled:
            self._measured = (closure, measured)
        return measured

    def _see_to_gradients(self) -> None:
        if self._removed:
            return
        evaluation, self._evaluation = self._evaluation, self._evaluation + 1
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

    def __init__(
        self,
        hook: Callable[..., Arguments | None] | None = None,
        in_compiled: Callable[..., Arguments | None] | None = None,
    ) -> None:
        self._hook = hook
        self._in_compiled = in_compiled

    def __call__(self, *args: Any) -> Any:
        # A compiled step must call the hook, not compile it. Elsewhere the guard would cost more than a small clip.
        hook = self._in_compiled if torch.compiler.is_compiling() else self._hook
        return hook(*args) if hook else None

    def __reduce__(self) -> tuple[type[_Attached], tuple[()]]:
        return _Attached, ()


def _uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, for a compiled step to call and not to compile; torch gives the reason where that is forbidden."""
    disable: Any = torch.compiler.disable
    try:
        uncompiled: Callable[..., Any] = disable(function, reason=WHY_UNCOMPILED)
    except TypeError:  # an older torch takes no reason
        uncompiled = disable(function)
    return uncompiled


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
