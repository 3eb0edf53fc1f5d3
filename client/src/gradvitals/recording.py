"""Make the frames of one monitor from what was measured at each step."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torch import Tensor
from torch.optim import Optimizer

from gradvitals.already_clipped import AlreadyClipped
from gradvitals.amp import ScaledNorms
from gradvitals.frames import (
    FLAG_ALREADY_CLIPPED,
    FLAG_NON_FINITE,
    FLAG_SKIPPED_STEP,
    PARAM_NORMS_EVERY,
    Float32Vector,
    Frame,
    float32_vector,
)
from gradvitals.layers import WatchedParameters
from gradvitals.norms import FLOAT32_MAX, GradientNorms, gradient_norms
from gradvitals.read_back import read_together

if TYPE_CHECKING:
    from gradvitals.monitor import Monitor


class FrameSink(Protocol):
    """Where frames go. ``submit`` never blocks and never raises."""

    def submit(self, monitor: Monitor, frame: Frame) -> None:
        """Take one frame."""


class Recorder:
    """Turns measurements into frames, numbers them, and hands them to the sink."""

    def __init__(self, monitor: Monitor, sink: FrameSink, tell_once: Callable[[str, str], None]) -> None:
        self._monitor = monitor
        self._sink = sink
        self._tell_once = tell_once
        self._already_clipped = AlreadyClipped()
        self._scaled_norms: ScaledNorms | None = None if monitor.has_scaler else ScaledNorms()  # until it has settled
        self._frames = 0
        self.last: Frame | None = None

    def record(
        self,
        step: int,
        norms: GradientNorms,
        coefficient: Tensor | float,
        *,
        max_norm: float,
        watched: WatchedParameters,
        places: list[int] | None,
        optimizer: Optimizer,
        loss_scale: Tensor | float,
        skipped: Tensor | float,
        non_finite: list[tuple[int, int, int]] | None,
    ) -> None:
        """Make the frame of a step and hand it over. ``places`` are the parameters that have a gradient; None: all."""
        lr = optimizer.param_groups[0].get("lr", math.nan)
        global_norm, layer_norms = norms.global_norm, norms.layer_norms
        if not isinstance(global_norm, float) or not isinstance(layer_norms, list):
            layer_norms, numbers = read_together(layer_norms, global_norm, coefficient, lr, loss_scale, skipped)
            global_norm, coefficient, lr, loss_scale, skipped = numbers
        if places is not None or not watched.one_layer_each:
            layer_norms = watched.spread(layer_norms, places, norms.norm_type)
        weights = None
        if self._frames % PARAM_NORMS_EVERY == 0 and not watched.sharded:
            weights = self._weights(watched, norms.norm_type)
        flags = 0 if global_norm < math.inf else FLAG_NON_FINITE
        if skipped:
            flags |= FLAG_SKIPPED_STEP
        if self._scaled_norms is not None:
            self._look_for_a_scale(self._scaled_norms, global_norm)
        limit = self._already_clipped.observe(global_norm)
        if limit is not None:
            flags |= FLAG_ALREADY_CLIPPED
            self._tell_already_clipped(limit)
        frame = Frame(
            step=step,
            time=time.time(),
            global_norm=global_norm,
            clip_coefficient=float(coefficient) if global_norm < math.inf else math.nan,
            max_norm=max_norm,
            lr=float(lr),
            layout=watched.layout,
            layer_norms=array("f", layer_norms) if global_norm < FLOAT32_MAX else float32_vector(layer_norms, math.inf),
            param_norms=weights,
            loss_scale=float(loss_scale),
            flags=flags,
            non_finite=non_finite,
        )
        self._frames += 1
        self.last = frame
        self._sink.submit(self._monitor, frame)

    def _weights(self, watched: WatchedParameters, norm_type: float) -> Float32Vector:
        weights = gradient_norms(watched.parameters, norm_type).layer_norms
        if isinstance(weights, Tensor):
            weights, _ = read_together(weights)
        return float32_vector(watched.spread(weights, None, norm_type), math.inf)

    def _look_for_a_scale(self, scaled_norms: ScaledNorms, global_norm: float) -> None:
        if not scaled_norms.begin_with(global_norm):
            if scaled_norms.settled:
                self._scaled_norms = None
            return
        self._tell_once(
            "scaled",
            f"the gradients of {self._monitor.name} have norms such as {global_norm:.3g}: is there a loss scale in "
            "them? Where a GradScaler is used, pass it as watch(..., scaler=scaler): norms are then those without it",
        )

    def _tell_already_clipped(self, limit: float) -> None:
        self._tell_once(
            "already clipped",
            f"the gradients of {self._monitor.name} were clipped to {limit:g} before they came here, so their norms "
            f"mean nothing: remove your clip_grad_norm_(..., {limit:g}), and let watch(..., max_norm={limit:g}) do it",
        )
