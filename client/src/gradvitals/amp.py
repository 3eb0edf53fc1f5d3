"""What a GradScaler does to one optimizer's steps.

A scaler skips the step of an optimizer whose gradients overflowed by not calling it, so that no hook on the optimizer
hears of it. Here its own ``step`` is watched, on that one object and until ``close``. Nothing waits for a device, and
nothing changes what the scaler does, returns or raises.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gradvitals.errors import ConfigurationError
from gradvitals.fused_step import ABSENT, put_attribute
from gradvitals.step_hook import with_hooks

OnSkipped = Callable[["Tensor | float"], None]  # called with the loss scale

SCALED_NORM = 2.0**14  # a GradScaler begins at 2**16; without one few trainings begin as high
FIRST_NORMS = 8


class ScalerWatch:
    """Watches one scaler for one optimizer, and calls ``on_skipped`` after each step that the scaler did not call.

    By then the scaler has unscaled the gradients in place: they are what overflowed, without the loss scale. A step of
    a fused optimizer is always called, and told to skip by ``found_inf``, so that its hook sees it; tell ``stepping``
    of each step that the hook sees. Without ``on_skipped``, or with a disabled scaler, nothing is put onto the scaler.
    Raises ConfigurationError for what is not a scaler.
    """

    def __init__(
        self,
        scaler: Any,
        optimizer: Optimizer,
        *,
        on_skipped: OnSkipped | None = None,
        on_fault: Callable[[Exception], None] = lambda fault: None,
    ) -> None:
        if not callable(getattr(scaler, "step", None)) or not callable(getattr(scaler, "unscale_", None)):
            raise ConfigurationError(f"scaler must be a torch.amp.GradScaler, not {type(scaler).__name__}")
        self._scaler = scaler
        self.optimizer = with_hooks(optimizer)
        self._on_skipped = on_skipped
        self._on_fault = on_fault
        self._called = False
        self._watched_step: _WatchedStep | None = None
        if on_skipped is not None and self._is_enabled():
            self._watched_step = _watch_step(scaler)
            self._watched_step.watches.append(self)

    def stepping(self) -> None:
        """The optimizer's step was called. To be told by its pre-hook."""
        self._called = True

    def loss_scale(self) -> Tensor | float:
        """What the scaler multiplies losses by now; 1.0 where it is disabled or has not scaled anything yet.

        The scaler's own tensor, which its ``update`` changes in place: read or copy it within the step.
        """
        scale: Tensor | None = getattr(self._scaler, "_scale", None) if self._is_enabled() else None
        return 1.0 if scale is None else scale

    def scale_in_gradients(self) -> Tensor | float:
        """The loss scale that is in the gradients outside the scaler's ``step``; 1.0 once ``unscale_`` has been called.

        For a call in the open, before ``scaler.step``. Inside it ``optimizer.grad_scale`` says the same.
        """
        states = getattr(self._scaler, "_per_optimizer_states", {})
        state = states.get(id(self.optimizer), {})  # never states[...]: that makes one, and then it cannot be pickled
        stage = getattr(state.get("stage"), "name", "READY")
        return self.loss_scale() if stage == "READY" else 1.0

    def unscale_(self) -> None:
        """Have the scaler divide the gradients by its loss scale, unless the loop has had it do so."""
        with contextlib.suppress(RuntimeError):  # it says that it has done so already
            self._scaler.unscale_(self.optimizer)

    def close(self) -> None:
        """Stop watching, and leave the scaler as it was; harmless when done twice."""
        watched, self._watched_step = self._watched_step, None
        if watched is not None:
            watched.remove(self)

    def _begin(self) -> None:
        self._called = False

    def _end(self) -> None:
        if not self._called and self._on_skipped is not None:
            self._on_skipped(self.loss_scale())

    def _fault(self, fault: Exception) -> None:
        with contextlib.suppress(Exception):
            self._on_fault(fault)

    def _is_enabled(self) -> bool:
        is_enabled = getattr(self._scaler, "is_enabled", None)
        return is_enabled is None or bool(is_enabled())


class ScaledNorms:
    """Whether a loss scale seems to be in the norms of a run that has not been shown its scaler.

    Told from the first norms alone: each of the first finite ones is as large as only a loss scale makes it, or a loss
    that is summed over very many terms. So what is said of it is a question.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = FIRST_NORMS

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to find out."""
        return self._left == 0

    def begin_with(self, global_norm: float) -> bool:
        """Take one step's norm; True once, when the last of the first norms was as large as the others."""
        if self._left == 0 or not math.isfinite(global_norm):
            return False  # a scaler's first scales overflow, so what is not finite says nothing
        self._left = self._left - 1 if global_norm >= SCALED_NORM else 0
        return self._left == 0 and global_norm >= SCALED_NORM


class _WatchedStep:
    """Stands in for one scaler's ``step``, for all who watch it, so that they may leave in any order.

    A pickled or deep copy of the scaler gets its own plain ``step`` in its place: a copy is not watched.
    """

    def __init__(self, scaler: Any) -> None:
        self.watches: list[ScalerWatch] = []
        self._scaler = scaler
        self._before = vars(scaler).get("step", ABSENT)
        self._step: Callable[..., Any] = scaler.step
        functools.update_wrapper(self, self._step, updated=())

    def __call__(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The outermost guard of the scaler's step: it calls nothing of ours that it does not catch."""
        watch = None
        try:
            watch = self._begin(optimizer)
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            for each in self.watches:
                each._fault(fault)
        if watch is None:
            return self._step(optimizer, *args, **kwargs)
        grad_scale, found_inf = getattr(optimizer, "grad_scale", ABSENT), getattr(optimizer, "found_inf", ABSENT)
        try:
            result = self._step(optimizer, *args, **kwargs)
        except BaseException:
            # A scaler does not clean up after a step that raised, which ours does where the policy says so. The next
            # step would multiply its scale by the one that was left.
            with contextlib.suppress(Exception):
                put_attribute(optimizer, "grad_scale", grad_scale)
                put_attribute(optimizer, "found_inf", found_inf)
            raise
        try:
            watch._end()
        except Exception as fault:  # noqa: BLE001 -- as above
            watch._fault(fault)
        return result

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, str]]:
        return getattr, (self._scaler, "step")

    def remove(self, watch: ScalerWatch) -> None:
        """One who watched leaves; after the last, the scaler is as it was."""
        if watch in self.watches:
            self.watches.remove(watch)
        # Where somebody has wrapped us in turn, we stay underneath and watch nothing.
        if not self.watches and vars(self._scaler).get("step") is self:
            put_attribute(self._scaler, "step", self._before)

    def _begin(self, optimizer: Any) -> ScalerWatch | None:
        """Who watches this optimizer, told that a step begins; None where nobody does."""
        inner = with_hooks(optimizer)
        for watch in self.watches:
            if watch.optimizer is inner:
                watch._begin()
                return watch
        return None


def _watch_step(scaler: Any) -> _WatchedStep:
    """What stands in for the scaler's ``step``, put there if nobody watches it yet."""
    try:
        watched = vars(scaler).get("step")
        if not isinstance(watched, _WatchedStep):
            watched = _WatchedStep(scaler)
            scaler.step = watched
    except (TypeError, AttributeError) as error:  # it has no attributes of its own
        raise ConfigurationError(f"the step of a {type(scaler).__name__} cannot be watched") from error
    return watched
