"""Make frames of norms that somebody else has measured: where DeepSpeed, Megatron or a pipeline's own code clips.

Nothing here clips or looks at a gradient. Such frames have no layers: which layer broke cannot be known from one norm.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradvitals.errors import ConfigurationError
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP, Frame, Layout

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6  # torch's, and DeepSpeed's: max_norm / (norm + 1e-6)
NO_LAYERS = Layout(())


class Observer:
    """A monitor that is told each step's norm. Made by ``Run.observer``; it needs no torch.

    ``max_norm`` is the limit that the other clips by, from which the clip coefficient is worked out; it may be set
    while the run goes on. Raises ConfigurationError where it is not a number above 0.
    """

    optimizer_name = "observed"  # what the service is told in place of an optimizer's class
    norm_type = 2.0
    clip_value: float | None = None
    overhead = 0.0
    is_sharded = False
    layout = NO_LAYERS

    def __init__(
        self,
        *,
        name: str,
        submit: Callable[[Observer, Frame], None],
        max_norm: float | None = None,
        step: int = 0,
        tell_once: Callable[[str, str], None] = lambda about, line: None,
    ) -> None:
        self.name = name
        self.max_norm = _as_limit(max_norm)
        self.step = step  # of the coming frame
        self.recording = True
        self.last_healthy_step: int | None = None
        self.spoiled_at: int | None = None  # the first step that was made with a gradient that was not finite
        self._submit = submit
        self._tell_once = tell_once
        self._last: Frame | None = None

    def __repr__(self) -> str:
        return f"<gradvitals.Observer {self.name!r}, step {self.step}>"

    @property
    def last(self) -> dict[str, Any] | None:
        """The newest frame as a dict; None before the first step."""
        return None if self._last is None else self._last.as_dict()

    def observe(
        self,
        total_norm: Tensor | float | None,
        clip_coefficient: Tensor | float | None = None,
        *,
        lr: float | None = None,
        loss_scale: float = 1.0,
        skipped: bool = False,
    ) -> None:
        """Take one step's global norm before clipping, once for each step; raises nothing.

        Without ``clip_coefficient`` it is ``min(1, max_norm / (total_norm + 1e-6))``. ``skipped`` is a step that was
        not made, as after an overflow: its norm is not finite, whatever the other left of an earlier one. A norm below
        zero means the same with DeepSpeed. Reading a tensor waits for its device. Every rank may call this; rank 0's
        word counts.
        """
        try:
            norm = math.nan if skipped else self._as_norm(total_norm)
            if norm is not None and self.recording:
                self._record(norm, clip_coefficient, lr=lr, loss_scale=loss_scale, skipped=skipped)
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._tell_once("observe", f"a norm could not be taken ({fault!r}); training goes on")
        self.step += 1

    def stop_recording(self) -> None:
        """Make no more frames, as after ``Run.finish``."""
        self.recording = False

    def close(self) -> None:
        """The same: there is no hook to take off."""
        self.recording = False

    def _as_norm(self, total_norm: Tensor | float | None) -> float | None:
        if total_norm is None:
            self._tell_once(
                "no norm", f"{self.name} was told no norm, so there is nothing to record: is clipping turned on there?"
            )
            return None
        norm = float(total_norm)
        return math.nan if norm < 0 else norm

    def _record(
        self,
        norm: float,
        coefficient: Tensor | float | None,
        *,
        lr: float | None,
        loss_scale: float,
        skipped: bool,
    ) -> None:
        finite = norm < math.inf
        limit = math.inf if self.max_norm is None else self.max_norm
        if coefficient is None:
            coefficient = min(limit / (norm + EPSILON), 1.0)
        if finite:
            self.last_healthy_step = self.step
        elif not skipped and self.spoiled_at is None:
            self.spoiled_at = self.step
        frame = Frame(
            step=self.step,
            time=time.time(),
            global_norm=norm,
            clip_coefficient=float(coefficient) if finite else math.nan,
            max_norm=limit,
            lr=math.nan if lr is None else float(lr),
            layout=NO_LAYERS,
            layer_norms=array("f"),
            loss_scale=float(loss_scale),
            flags=(0 if finite else FLAG_NON_FINITE) | (FLAG_SKIPPED_STEP if skipped else 0),
        )
        self._last = frame
        self._submit(self, frame)


def _as_limit(max_norm: float | None) -> float | None:
    try:
        limit = None if max_norm is None else float(max_norm)
    except (TypeError, ValueError):
        limit = math.nan
    if limit is not None and not limit > 0:
        raise ConfigurationError(f"max_norm must be a number above 0, not {max_norm!r}; leave it out where none clips")
    return limit
