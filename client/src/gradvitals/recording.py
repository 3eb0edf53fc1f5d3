"""Make the frames of one monitor from what was measured at each step."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from gradvitals.already_clipped import AlreadyClipped
from gradvitals.amp import ScaledNorms
from gradvitals.announce import counted
from gradvitals.frames import (
    FLAG_ALREADY_CLIPPED,
    FLAG_NON_FINITE,
    FLAG_SKIPPED_STEP,
    PARAM_NORMS_EVERY,
    Float32Vector,
    Frame,
    float32_vector,
)
from gradvitals.in_flight import Arrived, InFlight, Sent
from gradvitals.layers import WatchedParameters
from gradvitals.logged import LoggedValues
from gradvitals.norms import FLOAT32_MAX, GradientNorms, gradient_norms
from gradvitals.ring import ring_device

if TYPE_CHECKING:
    from gradvitals.monitor import Monitor

DRAIN_SECONDS = 2.0  # for the last steps of one monitor to come from a device


class FrameSink(Protocol):
    """Where frames go. ``submit`` never blocks and never raises."""

    def submit(self, monitor: Monitor, frame: Frame, reserved: LoggedValues | None = None) -> None:
        """Take one frame, and what was reserved for its step."""

    def reserve(self, monitor: Monitor, step: int) -> LoggedValues:
        """Give what was logged for this step, since its frame follows later."""


class Recorder:
    """Turns measurements into frames, numbers them, and hands them to the sink."""

    def __init__(
        self,
        monitor: Monitor,
        sink: FrameSink,
        tell_once: Callable[[str, str], None],
        on_late_frame: Callable[[Frame], None] = lambda frame: None,
    ) -> None:
        self._monitor = monitor
        self._sink = sink
        self._tell_once = tell_once
        self._on_late_frame = on_late_frame
        self._already_clipped = AlreadyClipped(monitor.layout.layers[0].dtype)
        self._scaled_norms: ScaledNorms | None = None if monitor.has_scaler else ScaledNorms()  # until it has settled
        self._frames = 0
        self._in_flight: InFlight | None = None  # made when norms are on a device for the first time
        self.last: Frame | None = None
        self.spoiled_at: int | None = None  # the first step that was made with a gradient that was not finite

    def record(
        self,
        step: int,
        norms: GradientNorms,
        coefficient: Tensor | float,
        *,
        max_norm: float,
        watched: WatchedParameters,
        places: list[int] | None,
        lr: Tensor | float,
        loss_scale: Tensor | float,
        skipped: Tensor | float,
        non_finite: list[tuple[int, int, int]] | None,
        late: Arrived | None = None,
    ) -> None:
        """Make the frame of a step and hand it over. ``places`` are the parameters that have a gradient; None: all.

        Where the norms are on a device, that happens once they have come to the host: in a later call, or in ``drain``.
        """
        global_norm, layer_norms = norms.global_norm, norms.layer_norms
        follows = late is None and self._in_flight is not None  # also with its numbers on the host: it has no gradient
        if follows or not isinstance(global_norm, float) or not isinstance(layer_norms, list):
            sent = Sent(step, time.time(), max_norm, watched, places, norms.norm_type, non_finite)
            self._send(sent, norms, (global_norm, coefficient, lr, loss_scale, skipped))
            return
        weights = None
        if late is not None:
            now = late.sent.time
            if late.weights is not None:
                weights = _spread(watched, late.weights, norms.norm_type)
        else:
            now = time.time()
            if self._frames % PARAM_NORMS_EVERY == 0 and not watched.sharded:
                measured = gradient_norms(watched.parameters, norms.norm_type).layer_norms
                measured = measured.tolist() if isinstance(measured, Tensor) else measured
                weights = _spread(watched, measured, norms.norm_type)
            self._frames += 1
        if places is not None or not watched.one_layer_each:
            layer_norms = watched.spread(layer_norms, places, norms.norm_type)
        flags = 0 if global_norm < math.inf else FLAG_NON_FINITE
        if skipped:
            flags |= FLAG_SKIPPED_STEP
        elif flags and self.spoiled_at is None:
            self.spoiled_at = step
        if self._scaled_norms is not None:
            self._look_for_a_scale(self._scaled_norms, global_norm)
        limit = self._already_clipped.observe(global_norm)
        if limit is not None:
            flags |= FLAG_ALREADY_CLIPPED
            self._tell_already_clipped(limit)
        frame = Frame(
            step=step,
            time=now,
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
        self.last = frame
        if late is None:
            self._sink.submit(self._monitor, frame)
        else:
            self._sink.submit(self._monitor, frame, late.logged)
            self._on_late_frame(frame)

    def collect(self) -> None:
        """Make frames of the steps whose numbers have come from a device; never waits."""
        if self._in_flight is not None:
            self._make_late_frames(self._in_flight.arrived())

    def drain(self, timeout_seconds: float) -> None:
        """Make frames of all that comes within the time, when nothing more is sent."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return
        self._make_late_frames(in_flight.drain(timeout_seconds))
        if in_flight.lost:
            lost = counted(in_flight.lost, "row")
            self._tell_once("lost", f"{lost} of {self._monitor.name} did not come from the device in time")

    def _send(self, sent: Sent, norms: GradientNorms, numbers: Sequence[Tensor | float]) -> None:
        """Have the numbers of a step brought from their device."""
        self.collect()
        layer_norms = torch.as_tensor(norms.layer_norms)
        if self._in_flight is None:
            self._in_flight = InFlight(ring_device(layer_norms.device))
        weights: Tensor | list[float] | None = None
        if self._frames % PARAM_NORMS_EVERY == 0 and not sent.watched.sharded:
            weights = gradient_norms(sent.watched.parameters, norms.norm_type).layer_norms
        self._frames += 1
        logged = self._sink.reserve(self._monitor, sent.step)
        self._in_flight.send(sent, logged, layer_norms, numbers, weights)

    def _make_late_frames(self, steps: list[Arrived]) -> None:
        for late in steps:
            sent = late.sent
            global_norm, coefficient, lr, loss_scale, skipped = late.numbers
            self.record(
                sent.step,
                GradientNorms(late.layer_norms, global_norm, sent.norm_type),
                coefficient,
                max_norm=sent.max_norm,
                watched=sent.watched,
                places=sent.places,
                lr=lr,
                loss_scale=loss_scale,
                skipped=skipped,
                non_finite=sent.non_finite,
                late=late,
            )

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


def _spread(watched: WatchedParameters, weights: list[float], norm_type: float) -> Float32Vector:
    return float32_vector(watched.spread(weights, None, norm_type), math.inf)
