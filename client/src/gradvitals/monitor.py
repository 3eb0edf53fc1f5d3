"""Turn the steps of one optimizer into frames, and clip its gradients on the way.

A Monitor belongs to the thread that trains. Clipping comes first: whatever fails here, gradients that were to be
clipped are clipped, by torch if need be, and training goes on. A device is waited for once a step, in ``_record``.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradvitals.already_clipped import AlreadyClipped
from gradvitals.clipping import Clip, ClipByValue, ObserveOnly, choose_strategy
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.frames import (
    FLAG_ALREADY_CLIPPED,
    FLAG_NON_FINITE,
    FLAG_SKIPPED_STEP,
    PARAM_NORMS_EVERY,
    Frame,
    Layout,
    clamp_to_float32,
)
from gradvitals.layers import Selection, WatchedParameters, require_watchable
from gradvitals.non_finite import count_non_finite, name_non_finite
from gradvitals.norms import GradientNorms, as_norm_type, distinct, gradient_norms
from gradvitals.overhead import Overhead
from gradvitals.read_back import read_together
from gradvitals.step_hook import StepHook, with_hooks

_monitors: weakref.WeakValueDictionary[int, Monitor] = weakref.WeakValueDictionary()  # by id of the optimizer


class FrameSink(Protocol):
    """Where frames go. ``submit`` never blocks and never raises."""

    def submit(self, monitor: Monitor, frame: Frame) -> None:
        """Take one frame."""


class Monitor:
    """One watched optimizer. Made by ``Run.watch``; with ``hook=True`` each ``optimizer.step()`` clips and measures.

    With neither ``max_norm`` nor ``clip_value`` the gradients are only measured. ``include`` and ``exclude`` are globs
    over parameter names that choose which layers are measured one by one; the global norm, and the clip, are of all
    parameters of the optimizer. ``step`` numbers the first step. Raises ConfigurationError for what it cannot do.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        name: str = "main",
        sink: FrameSink,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        clip_value: float | None = None,
        include: object | None = None,
        exclude: object | None = None,
        group_by: object | None = None,
        on_non_finite: str = "keep",
        scaler: object | None = None,
        hook: bool = True,
        step: int = 0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        optimizer = with_hooks(optimizer)
        require_watchable(model, optimizer)
        _refuse_what_comes_later(group_by, scaler, on_non_finite)
        self.name = name
        self.norm_type = as_norm_type(norm_type)
        self.step = step  # of the coming frame
        self._strategy = choose_strategy(max_norm, clip_value, norm_type)
        self.clip_value = self._strategy.clip_value if isinstance(self._strategy, ClipByValue) else None
        self._selection = Selection.of(include, exclude)
        self._watched = WatchedParameters(model, optimizer, self._selection)
        if not self._watched.layout.layers:
            raise ConfigurationError("include and exclude leave no layer to measure")
        previous = monitor_of(optimizer)
        if previous is not None:
            if previous.recording:
                raise ConfigurationError(
                    f"optimizer is watched already, by the monitor {previous.name!r}: finish its run or close it first"
                )
            previous.close()  # of a finished run: two of us would clip twice
        self._model, self._optimizer, self._sink, self._tell = model, optimizer, sink, tell
        self._raises = on_non_finite == "raise"
        self.recording: bool = True  # makes frames; without them it still clips
        self._frames = 0
        self._last: Frame | None = None
        self._was_finite = True
        self._already_clipped = AlreadyClipped()
        self._told: set[str] = set()
        self._overhead = Overhead()
        self._observes_lbfgs = hook and isinstance(optimizer, torch.optim.LBFGS)
        if self._observes_lbfgs:
            self._strategy, self.clip_value = ObserveOnly(), None
            tell("LBFGS evaluates its closure many times a step: the first is measured, and nothing is clipped")
        self._hook = StepHook(optimizer, self._gradients_ready) if hook else None
        _monitors[id(optimizer)] = self

    def __repr__(self) -> str:
        return f"<gradvitals.Monitor {self.name!r} of {type(self._optimizer).__name__}, step {self.step}>"

    @property
    def layout(self) -> Layout:
        """The layers measured now; a new one once the optimizer's parameters have changed."""
        return self._watched.layout

    @property
    def max_norm(self) -> float | None:
        """The limit of norm clipping, None where it is off. May be set while the run goes on."""
        return None if math.isinf(self._strategy.max_norm) else self._strategy.max_norm

    @max_norm.setter
    def max_norm(self, max_norm: float | None) -> None:
        if self._observes_lbfgs:
            raise ConfigurationError("max_norm cannot be set: LBFGS is only observed")
        self._strategy = choose_strategy(max_norm, self.clip_value, self.norm_type)

    @property
    def last(self) -> dict[str, Any] | None:
        """The newest frame as a dict, with ``layer_norms`` by layer name; None before the first step."""
        return None if self._last is None else self._last.as_dict()

    @property
    def overhead(self) -> float:
        """Share of the time between steps that is spent here, clipping included, in [0, 1]; smoothed."""
        return self._overhead.share

    def clip_(self) -> Tensor:
        """Clip and measure now, once before each ``optimizer.step()``; for a monitor made with ``hook=False``.

        Returns the global norm before clipping, 0-d; NaN where measuring failed.
        """
        if self._hook is not None:
            raise ConfigurationError("clip_ is for watch(..., hook=False): this optimizer clips in its own step")
        return self._clip_and_record_(first_evaluation=True)

    def stop_recording(self) -> None:
        """Keep clipping and make no more frames, as after ``Run.finish``."""
        self.recording = False

    def close(self) -> None:
        """Take the hook off: from now on nothing of ours clips or measures."""
        self.recording = False
        if self._hook is not None:
            self._hook.remove()
        if _monitors.get(id(self._optimizer)) is self:
            del _monitors[id(self._optimizer)]

    def _gradients_ready(self, evaluation: int) -> None:
        if evaluation == 0 or not self._observes_lbfgs:
            self._clip_and_record_(first_evaluation=evaluation == 0)

    @torch.no_grad()
    def _clip_and_record_(self, *, first_evaluation: bool) -> Tensor:
        """Clip, and make a frame of a step's first evaluation. Raises nothing but what the policy asks for."""
        started = self._overhead.begin()
        global_norm, refusal, done = torch.tensor(math.nan, device="cpu"), None, False
        try:
            gradients, norms = self._measure()
            global_norm = norms.global_norm
            refusal = self._refuse(norms) if self._raises else None
            counts = self._count_non_finite(gradients, norms)
            if refusal is None:
                clip = self._strategy.clip_([g for g in gradients if g is not None], norms, self._grad_scale())
            else:
                clip = Clip(norms, torch.full_like(global_norm, math.nan))
            done = True
            if first_evaluation and self.recording:
                self._record(clip, counts, skipped=refusal is not None)
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._recover_(fault, done=done)
        if first_evaluation:
            self.step += 1
            if not self.recording:
                self._tell_once("finished", "steps after the end of the run are clipped as before, but not recorded")
        self._overhead.end(started, new_step=first_evaluation)
        if refusal is not None:
            raise NonFiniteGradientError(refusal)
        return global_norm

    def _measure(self) -> tuple[list[Tensor | None], GradientNorms]:
        """The gradients of all parameters, and their norms without a loss scale."""
        if not self._watched.still_hold(self._optimizer):
            self._watched = WatchedParameters(self._model, self._optimizer, self._selection)
        gradients = [parameter.grad for parameter in self._watched.parameters]
        norms = gradient_norms(gradients, self.norm_type)
        scale = self._grad_scale()
        return gradients, norms.divided_by(scale) if isinstance(scale, Tensor) else norms

    def _grad_scale(self) -> Tensor | float:
        """The loss scale that is still in the gradients: a GradScaler leaves dividing by it to a fused optimizer."""
        scale: Tensor | None = getattr(self._optimizer, "grad_scale", None)
        return 1.0 if scale is None else scale

    def _found_inf(self) -> Tensor | float:
        """1 where a GradScaler tells a fused optimizer to skip this step."""
        found: Tensor | None = getattr(self._optimizer, "found_inf", None)
        return 0.0 if found is None else found

    def _refuse(self, norms: GradientNorms) -> str | None:
        """Why the policy "raise" ends the step, or None. Waits for the device, which is what the policy costs."""
        if torch.isfinite(norms.global_norm) or float(self._found_inf()) == 1.0:
            return None
        names = [layer.name for layer in self.layout.layers]
        where = name_non_finite(self._measured(norms.layer_norms), names)
        return f"the gradient norm of step {self.step} is {float(norms.global_norm)}: not finite in {where}"

    def _count_non_finite(
        self, gradients: Sequence[Tensor | None], norms: GradientNorms
    ) -> list[tuple[int, int, int]] | None:
        """(layer, NaN, Inf) of each bad layer, on the step on which it begins. None elsewhere, and not on the CPU."""
        if not norms.global_norm.is_cpu:
            return None  # looking would wait for the device
        was_finite, self._was_finite = self._was_finite, math.isfinite(float(norms.global_norm))
        if self._was_finite or not was_finite:
            return None
        measured = self._watched.measured
        return count_non_finite(gradients if measured is None else [gradients[place] for place in measured]) or None

    def _measured(self, values: Tensor) -> Tensor:
        """Of one value a parameter, those of the layers in the layout."""
        return values if self._watched.measured is None else values[self._watched.measured]

    def _record(self, clip: Clip, counts: list[tuple[int, int, int]] | None, *, skipped: bool) -> None:
        """Make the frame of this step and hand it over."""
        weights = None
        if self._frames % PARAM_NORMS_EVERY == 0:
            weights = self._measured(gradient_norms(self._watched.parameters, self.norm_type).layer_norms)
        lr = self._optimizer.param_groups[0].get("lr", math.nan)
        layers, numbers, lrs, scales, found, weight_values = read_together(
            self._measured(clip.norms.layer_norms),
            torch.stack([clip.norms.global_norm, clip.clip_coefficient]),
            lr,
            self._grad_scale(),
            self._found_inf(),
            weights if weights is not None else math.nan,
        )
        global_norm, clip_coefficient = numbers.tolist()
        finite = math.isfinite(global_norm)
        frame = Frame(
            step=self.step,
            time=time.time(),
            global_norm=global_norm,
            clip_coefficient=clip_coefficient if finite else math.nan,
            max_norm=self._strategy.max_norm,
            lr=float(lrs[0]),
            layout=self.layout,
            layer_norms=clamp_to_float32(layers),
            param_norms=clamp_to_float32(weight_values) if weights is not None else None,
            loss_scale=float(scales[0]),
            flags=self._flags(global_norm, skipped=skipped or found[0] == 1.0),
            non_finite=counts,
        )
        self._frames += 1
        self._last = frame
        self._sink.submit(self, frame)

    def _flags(self, global_norm: float, *, skipped: bool) -> int:
        flags = 0 if math.isfinite(global_norm) else FLAG_NON_FINITE
        if skipped:
            flags |= FLAG_SKIPPED_STEP
        self._already_clipped.observe(global_norm)
        limit = self._already_clipped.limit
        if limit is not None:
            flags |= FLAG_ALREADY_CLIPPED
            self._tell_once(
                "already clipped",
                f"the gradients of {self.name} were clipped to {limit:g} before they came here, so their norms mean "
                f"nothing: remove your clip_grad_norm_(..., {limit:g}), and let watch(..., max_norm={limit:g}) do it",
            )
        return flags

    def _recover_(self, fault: Exception, *, done: bool) -> None:
        """After a fault of ours: clip by torch alone what has not been clipped yet."""
        self._tell_once(
            "fault", f"a step could not be measured ({fault!r}); gradients are still clipped, and training goes on"
        )
        if done:
            return
        try:
            parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
            self._strategy.clip_like_torch_(distinct(parameters), self._grad_scale())
        except Exception as second:  # noqa: BLE001 -- as above, and all ways to clip have been tried
            self._tell_once("unclipped", f"THE GRADIENTS COULD NOT BE CLIPPED: {second!r}")

    def _tell_once(self, about: str, line: str) -> None:
        if about not in self._told:
            self._told.add(about)
            self._tell(line)


def monitor_of(optimizer: Optimizer) -> Monitor | None:
    """The monitor that watches ``optimizer`` now, in whichever run; None where there is none."""
    return _monitors.get(id(with_hooks(optimizer)))


def _refuse_what_comes_later(group_by: object, scaler: object, on_non_finite: str) -> None:
    """Raise ConfigurationError for arguments that later versions accept."""
    if group_by is not None:
        raise ConfigurationError("group_by is not supported yet: leave it out, and layers are grouped by their module")
    if on_non_finite not in ("keep", "raise"):
        raise ConfigurationError(f"on_non_finite must be 'keep' or 'raise', not {on_non_finite!r}")
    if scaler is not None and getattr(scaler, "is_enabled", lambda: True)():
        raise ConfigurationError(
            "scaler is not supported yet: leave it out. Norms and clipping are right under a GradScaler, but a step "
            "that it skips is not seen"
        )
