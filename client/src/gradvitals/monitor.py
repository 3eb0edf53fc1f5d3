"""Watch one optimizer: clip the gradients of its steps, and have what was measured made into frames.

A Monitor belongs to the thread that trains. Clipping comes first: whatever fails here, gradients that were to be
clipped are clipped, by torch if need be, and training goes on.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Collection, Iterable
from operator import attrgetter
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradvitals.agreement import agree_on_watching, teams_of
from gradvitals.amp import ScalerWatch
from gradvitals.announce import counted
from gradvitals.clipping import (
    AlreadyAppliedError,
    ClipByGlobalNorm,
    ClipByValue,
    ObserveOnly,
    SingleNumber,
    choose_strategy,
    untouched_below,
)
from gradvitals.distributed import measure_shards_, rescue_shards_
from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.frames import Frame, Layout
from gradvitals.fused_step import FusedStep
from gradvitals.layers import Selection, WatchedParameters, require_watchable
from gradvitals.non_finite import count_non_finite, first_non_finite, where_it_began
from gradvitals.norms import EPSILON, FLOAT32_MAX, GradientNorms, as_norm_type, distinct, gradient_norms, uniform_norms
from gradvitals.overhead import Overhead
from gradvitals.policy import Action, NonFinitePolicy, SetAside
from gradvitals.recording import DRAIN_SECONDS, FrameSink, Recorder
from gradvitals.ring import capturing
from gradvitals.step_hook import StepHook, with_hooks

_monitors: weakref.WeakValueDictionary[int, Monitor] = weakref.WeakValueDictionary()  # by id of the optimizer

LOOK_EVERY = 64  # steps between two looks at what seldom changes: frozen, moved or converted parameters
SETTLE_EVERY = 16  # steps over which the share of time is taken
MUCH_OVERHEAD = 0.02  # share of the time that is worth a word
_REQUIRES_GRAD = attrgetter("requires_grad")
FOLDABLE = 1e-30  # a smaller factor has no inverse in single precision


class Monitor:
    """One watched optimizer. Made by ``Run.watch``; with ``hook=True`` each ``optimizer.step()`` clips and measures.

    With neither ``max_norm``, ``clip_value`` nor ``strategy`` the gradients are only measured. ``include`` and
    ``exclude`` are globs over parameter names that choose which layers are measured one by one, ``group_by`` which are
    measured together; the global norm, and the clip, are of all parameters of the optimizer. ``step`` numbers the first
    step. Raises ConfigurationError for what it cannot do.
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
        strategy: object | None = None,
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
        if on_non_finite == "skip" and not hook:
            raise ConfigurationError(
                "on_non_finite='skip' needs the hook: with hook=False, leave out the step where clip_() is not finite"
            )
        self.name = name
        self.step = step  # of the coming frame
        self._strategy = choose_strategy(max_norm, clip_value, norm_type, strategy)
        self.norm_type = as_norm_type(getattr(self._strategy, "norm_type", norm_type))
        self._untouched_below = untouched_below(self._strategy)
        self.clip_value = self._strategy.clip_value if isinstance(self._strategy, ClipByValue) else None
        self._selection = Selection.of(include, exclude, group_by)
        self._watched = WatchedParameters(model, optimizer, self._selection)
        if not self._watched.layout.layers:
            raise ConfigurationError("include and exclude leave no layer to measure")
        teams = teams_of(model, self._watched.parameters, clips=not isinstance(self._strategy, ObserveOnly))
        settings = (
            f"{type(self._strategy).__name__} with max_norm={max_norm}, clip_value={clip_value}, "
            f"norm_type={norm_type}, on_non_finite={on_non_finite!r}, hook={hook} "
            f"and the layers {self._watched.layout.layout_id}"
        )
        agree_on_watching(teams, settings, tell)
        self._policy = NonFinitePolicy(on_non_finite)
        self._scaler: ScalerWatch | None = None
        if scaler is not None and getattr(scaler, "is_enabled", lambda: True)():
            # Where the loop calls ``clip_`` before the scaler's step, a frame of the step is there already.
            on_skipped = self._scaler_skipped if hook else None
            self._scaler = ScalerWatch(scaler, optimizer, on_skipped=on_skipped, on_fault=self._tell_fault)
        # From here on nothing can be refused, which would leave the optimizer without the monitor it had.
        previous = monitor_of(optimizer)
        if previous is not None:  # of another run, as when the cell of a notebook is run again
            if previous.recording:
                tell(f"this optimizer was watched by another run, which gets no more of its steps ({previous.name})")
            previous.close()  # two of us would clip twice
        self._model, self._optimizer, self._tell = model, optimizer, tell
        self.recording: bool = True  # makes frames; without them it still clips
        self._told: set[str] = set()
        self._overhead = Overhead()
        self._no_grad = torch.no_grad()
        self._number = SingleNumber()
        self._present = -1  # how many parameters had a gradient at the last step
        self._was_finite = True
        self._global_norm: Tensor | float = math.nan
        self._keeps, self._raises = on_non_finite == "keep", on_non_finite == "raise"
        self._set_aside = SetAside()
        self._overdue: NonFiniteGradientError | None = None  # what the policy decided too late for its step
        self._interfered = False  # the optimizer was told something for this step, or gradients are hidden from it
        self._observes_lbfgs = hook and isinstance(optimizer, torch.optim.LBFGS)
        if self._observes_lbfgs:
            self._strategy, self.clip_value = ObserveOnly(), None
            self._untouched_below = math.inf
            tell("LBFGS evaluates its closure many times a step: the first is measured, and nothing is clipped")
        self._recorder = Recorder(self, sink, self._tell_once, self._learnt)
        self._fused = FusedStep.of(optimizer) if hook else None
        self._hook: StepHook | None = None
        if hook:
            self._hook = StepHook(
                optimizer,
                self._gradients_ready,
                self._stepped,
                self._rescue_,
                self._tell_fault,
                unsettled=lambda: self._interfered,
            )
        _monitors[id(optimizer)] = self

    def __repr__(self) -> str:
        return f"<gradvitals.Monitor {self.name!r} of {type(self._optimizer).__name__}, step {self.step}>"

    def __reduce__(self) -> tuple[type[UnwatchedCopy], tuple[str]]:
        # A module that holds its monitor may be copied or saved. What arrives there watches nothing.
        return UnwatchedCopy, (self.name,)

    @property
    def optimizer_name(self) -> str:
        """The class of the watched optimizer, such as ``AdamW``."""
        return type(self._optimizer).__name__

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
        other = None if type(self._strategy) in (ClipByGlobalNorm, ObserveOnly) else self._strategy
        self._strategy = choose_strategy(max_norm, None, self.norm_type, other)
        self._untouched_below = untouched_below(self._strategy)

    @property
    def is_sharded(self) -> bool:
        """Whether other ranks hold parts of the layers, so that what is counted here is counted in this rank's."""
        return self._watched.sharded

    @property
    def has_scaler(self) -> bool:
        """Whether the loop's GradScaler is known."""
        return self._scaler is not None

    @property
    def last(self) -> dict[str, Any] | None:
        """The newest frame as a dict, with ``layer_norms`` by layer name; None before the first step."""
        try:
            return None if self._recorder.last is None else self._recorder.last.as_dict()
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._tell_fault(fault)
            return None

    @property
    def spoiled_at(self) -> int | None:
        """The first step that was made with a gradient that was not finite: no weights after it are clean."""
        return self._recorder.spoiled_at

    @property
    def global_norm(self) -> Tensor | float:
        """The newest step's norm before clipping, on the device where it was measured, 0-d; NaN before the first."""
        return self._global_norm

    @property
    def overhead(self) -> float:
        """Share of the time between steps that is spent here, clipping included, in [0, 1]; smoothed."""
        return self._overhead.share

    @property
    def last_healthy_step(self) -> int | None:
        """The newest step whose gradients were finite; None before the first."""
        return self._policy.last_healthy_step

    def clip_(self) -> Tensor:
        """Clip and measure now, once before each ``optimizer.step()``; for a monitor made with ``hook=False``.

        Returns the global norm before clipping, 0-d; NaN where measuring failed.
        """
        if self._hook is not None:
            raise ConfigurationError("clip_ is for watch(..., hook=False): this optimizer clips in its own step")
        try:
            global_norm = self._clip_and_record_(new_step=True)
            if isinstance(global_norm, Tensor):
                return global_norm
            dtype = torch.float64 if FLOAT32_MAX < global_norm < math.inf else torch.float32
            return torch.scalar_tensor(global_norm, dtype=dtype, device="cpu")
        except NonFiniteGradientError:
            raise
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._rescue_(fault)
            return torch.full((), math.nan)

    def is_continued_by(self, model: nn.Module, optimizer: Optimizer) -> bool:
        """Whether an optimizer was made anew for what this monitor watches: the same parameters, or the same layers."""
        require_watchable(model, with_hooks(optimizer))
        theirs = WatchedParameters(model, with_hooks(optimizer), self._selection)
        ours = self._watched
        return theirs.layout == ours.layout or any(theirs.holds(parameter) for parameter in ours.parameters)

    def collect(self) -> None:
        """Hand over the frames whose numbers have come from a device; never waits. For the thread that trains."""
        self._guarded(self._recorder.collect)

    def drain(self, timeout_seconds: float = DRAIN_SECONDS) -> None:
        """Hand over the frames whose numbers come from a device within the time, before recording stops."""
        self._guarded(lambda: self._recorder.drain(timeout_seconds))

    def stop_recording(self) -> None:
        """Keep clipping and make no more frames, as after ``Run.finish``."""
        self.recording = False

    def close(self) -> None:
        """Take the hook off: from now on nothing of ours clips or measures."""
        parts: list[Callable[[], None]] = [self.drain] if self.recording else []
        parts.append(self._stepped)
        if self._hook is not None:
            parts.append(self._hook.remove)
        if self._scaler is not None:
            parts.append(self._scaler.close)
        for part in parts:
            try:
                part()
            except Exception as fault:  # noqa: BLE001 -- as above; the other parts are closed all the same
                self._tell_fault(fault)
                self._strategy, self._untouched_below = ObserveOnly(), math.inf  # should the hook have stayed
        self.recording = False
        if _monitors.get(id(self._optimizer)) is self:
            del _monitors[id(self._optimizer)]

    def _gradients_ready(self, evaluation: int) -> None:
        """In the optimizer's step, its gradients are final."""
        if self._scaler is not None:
            self._scaler.stepping()
        if evaluation == 0 or not self._observes_lbfgs:
            self._clip_and_record_(new_step=evaluation == 0)

    def _stepped(self) -> None:
        """The optimizer's step is over: take back what it was told, put back what was hidden from it."""
        if self._interfered:
            self._interfered = False
            if self._fused is not None:
                self._fused.take_back()
            self._set_aside.restore()

    def _clip_and_record_(self, *, new_step: bool) -> Tensor | float:
        """Clip, and make a frame of a step's first evaluation. Raises nothing but what the policy asks for."""
        global_norm: Tensor | float = math.nan
        known, refusal, done = None, None, False
        step = self.step if new_step else self.step - 1  # evaluated again, a step has been counted already
        try:
            if self._watched.on_cuda and capturing():
                return self._clip_into_graph_()
            began = perf_counter()
            if self._interfered:  # an earlier step raised
                self._set_aside.forget()
                self._stepped()
            # Before other ranks are met, since afterwards nothing may fail.
            amp = self._scaler is not None or "grad_scale" in self._optimizer.__dict__
            scale = self._scale_in_gradients() if amp else None
            gradients, places, norms = self._measure()
            if scale is not None:
                norms = norms.divided_by(scale)
            known = norms
            self._global_norm = global_norm = norms.global_norm
            action, counts, untouched = Action.STEP, None, False
            if self._was_finite and isinstance(global_norm, float) and global_norm < math.inf:
                self._policy.last_healthy_step = step
                untouched = global_norm < self._untouched_below
            else:
                action, counts = self._judge(step, gradients, places, norms)
            coefficient = 1.0 if untouched else self._act_(action, gradients, norms, scale)
            if action is Action.RAISE:
                refusal = self._policy.error(step, float(global_norm), self._where(places, norms))
            done = True
            if new_step and self.recording:
                self._recorder.record(
                    self.step,
                    norms,
                    coefficient,
                    max_norm=self._strategy.max_norm,
                    watched=self._watched,
                    places=places,
                    lr=self._optimizer.param_groups[0].get("lr", math.nan),
                    loss_scale=self._loss_scale(scale) if amp else 1.0,
                    skipped=action is not Action.STEP
                    or ((amp or not norms.on_host) and self._is_skipped_by_scaler(global_norm)),
                    non_finite=counts,
                )
            elif new_step:
                self._tell_once("finished", "steps after the end of the run are clipped as before, but not recorded")
            self._overhead.spent += perf_counter() - began
            if new_step and self.step % SETTLE_EVERY == 0:
                self._settle_overhead()
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._rescue_(fault, known, done=done or isinstance(fault, AlreadyAppliedError))
        if new_step:
            self.step += 1
        if self._overdue is not None:
            refusal, self._overdue = self._overdue, None
        if refusal is not None:
            try:
                raise refusal
            finally:
                del refusal  # which refers to this frame, and so to the gradients, until a garbage collection
        return global_norm

    def _clip_into_graph_(self) -> float:
        """While a CUDA graph is captured nothing can be measured: torch's own clip becomes a part of the graph."""
        self._tell_once(
            "graph",
            f"a step of {self.name} is captured in a CUDA graph: its replays are clipped, but make no frames"
            + ("" if self._keeps else ", and on_non_finite is not asked about them"),
        )
        self._stepped()
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        scale = self._scale_in_gradients()
        self._strategy.clip_like_torch_(distinct(parameters), 1.0 if scale is None else scale)
        return math.nan

    def _learnt(self, frame: Frame) -> None:
        """The numbers of a step that was decided on without them have come."""
        finite = math.isfinite(frame.global_norm)
        if not (self._keeps or self._skips_on_device()) or not (finite or frame.loss_scale == 1.0):
            return  # it was judged in time, or a GradScaler skipped it
        if self._policy.judge(frame.step, finite) is Action.RAISE:
            where = _where_it_began(frame.layout, frame.layer_norms)
            self._overdue = self._policy.error(frame.step, frame.global_norm, where)

    def _scaler_skipped(self, loss_scale: Tensor | float) -> None:
        """A GradScaler has not called the optimizer, since the gradients overflowed: a frame all the same."""
        try:
            if self.recording or self._watched.sharded:  # all ranks measure, or none
                gradients, places, norms = self._measure()
                _, counts = self._inspect(gradients, places, norms)
                if self.recording:
                    self._recorder.record(
                        self.step,
                        norms,
                        math.nan,
                        max_norm=self._strategy.max_norm,
                        watched=self._watched,
                        places=places,
                        lr=self._optimizer.param_groups[0].get("lr", math.nan),
                        loss_scale=loss_scale,
                        skipped=True,
                        non_finite=counts,
                    )
        finally:
            self.step += 1

    def _measure(self) -> tuple[list[Tensor], list[int] | None, GradientNorms]:
        """The gradients that there are, their places among the parameters, and their norms."""
        watched = self._watched
        if not watched.still_hold(self._optimizer):
            watched = self._watch_anew()
        gradients = [gradient for parameter in watched.parameters if (gradient := parameter.grad) is not None]
        if len(gradients) != self._present or self.step % LOOK_EVERY == 0:
            self._present = len(gradients)
            if not watched.are_as_they_were():
                watched = self._watch_anew()
        places = None
        if len(gradients) < len(watched.parameters):
            places = [place for place, parameter in enumerate(watched.parameters) if parameter.grad is not None]
        if watched.uniform:
            try:
                plan = watched.plan if places is None else None
                return gradients, places, uniform_norms(gradients, self.norm_type, plan)
            except RuntimeError:  # sparse gradients, which have no kernel or no strides
                watched.uniform = False
        with self._no_grad:
            if watched.sharded:
                held, norms = measure_shards_(watched.parameters, self.norm_type, self._tell_fault)
                return held, None, norms
            return gradients, places, gradient_norms(gradients, self.norm_type)

    def _watch_anew(self) -> WatchedParameters:
        self._watched = WatchedParameters(self._model, self._optimizer, self._selection)
        return self._watched

    def _judge(
        self, step: int, gradients: list[Tensor], places: list[int] | None, norms: GradientNorms
    ) -> tuple[Action, list[tuple[int, int, int]] | None]:
        """What is to be done with this step, and the counts of its bad layers. Waits for a device only if it must."""
        if isinstance(norms.global_norm, Tensor) and (self._keeps or self._skips_on_device()):
            return Action.STEP, None
        finite, counts = self._inspect(gradients, places, norms)
        if not finite and bool(self._is_skipped_by_scaler(norms.global_norm)):
            if self._fused is not None and not self._fused.skips_cleanly():
                self._hide_gradients()
            return Action.STEP, counts
        return self._policy.judge(step, finite), counts

    def _inspect(
        self, gradients: list[Tensor], places: list[int] | None, norms: GradientNorms
    ) -> tuple[bool, list[tuple[int, int, int]] | None]:
        """Whether the norm is finite; (layer, NaN, Inf) of each bad layer on the step on which it ceases to be."""
        finite = bool(norms.global_norm < math.inf)
        was_finite, self._was_finite = self._was_finite, finite
        if finite or (not was_finite and self._keeps):
            return finite, None  # counting reads everything: kept NaN are counted once, when they begin
        counts: dict[int, tuple[int, int, int]] = {}
        for place, nan, inf in count_non_finite(gradients):
            layer = self._watched.layer_of.get(place if places is None else places[place])
            if layer is not None:
                _, nans, infs = counts.get(layer, (layer, 0, 0))
                counts[layer] = (layer, nans + nan, infs + inf)
        return finite, list(counts.values()) or None

    def _act_(
        self, action: Action, gradients: list[Tensor], norms: GradientNorms, grad_scale: Tensor | float | None
    ) -> Tensor | float:
        """Clip, or have the step skipped. The clip coefficient; NaN where the step is not made."""
        strategy, fused = self._strategy, self._fused
        if action is not Action.STEP:
            if action is Action.SKIP:  # also where the optimizer is fused: a skip by found_inf makes state at step 0
                self._hide_gradients()
            return math.nan
        if type(strategy) is ClipByGlobalNorm and isinstance(norms.global_norm, float):
            if fused is not None and (quotient := strategy.max_norm / (norms.global_norm + EPSILON)) >= FOLDABLE:
                if quotient >= 1.0:
                    return 1.0
                if self._may_fold():
                    self._interfered = True
                    # A division in single precision: there is no use in torch's own rounding of the factor.
                    if fused.tell(divisor=self._number.set(1.0 / quotient)):
                        return quotient
            factor = strategy.factor(norms)
            if factor == 1.0:
                return 1.0
            if self._watched.uniform and norms.clip_dtype is torch.float32 and not any(map(_REQUIRES_GRAD, gradients)):
                # The same as below. Where nothing asks for a graph, autograd's switch would take a tenth of the time.
                torch._foreach_mul_(gradients[::-1], self._number.set(float(factor)))
                return factor
        with self._no_grad:
            coefficient = strategy.clip_(gradients, norms, 1.0 if grad_scale is None else grad_scale)
            if fused is not None and isinstance(norms.global_norm, Tensor) and self._skips_on_device():
                self._interfered = True
                fused.tell(skip=torch.isfinite(norms.global_norm).logical_not())
            return coefficient

    def _may_fold(self) -> bool:
        """A compiled step would be compiled once more for what it is told in one step and not in another."""
        return self._hook is not None and not self._hook.compiled

    def _hide_gradients(self) -> None:
        self._interfered = True
        self._set_aside.hide(self._watched.parameters)

    def _skips_on_device(self) -> bool:
        """Whether a skip can be decided and made on the device, without waiting for it."""
        return not self._keeps and not self._raises and self._fused is not None and self._fused.skips_cleanly()

    def _scale_in_gradients(self) -> Tensor | float | None:
        """The loss scale that is still in the gradients: a GradScaler leaves dividing by it to a fused optimizer."""
        if self._hook is None and self._scaler is not None:
            return self._scaler.scale_in_gradients()
        scale: Tensor | None = vars(self._optimizer).get("grad_scale")
        return scale

    def _loss_scale(self, in_gradients: Tensor | float | None) -> Tensor | float:
        if self._scaler is not None:
            return self._scaler.loss_scale()
        return 1.0 if in_gradients is None else in_gradients

    def _is_skipped_by_scaler(self, global_norm: Tensor | float) -> Tensor | bool:
        """Whether a GradScaler keeps the optimizer from this step."""
        if self._hook is None:
            if self._scaler is None:
                return False
            finite = global_norm < math.inf
            return finite.logical_not() if isinstance(finite, Tensor) else not finite
        found = self._found_inf()
        return found == 1.0

    def _found_inf(self) -> Tensor | float:
        """1 where a GradScaler tells a fused optimizer to skip this step."""
        found: Tensor | None = vars(self._optimizer).get("found_inf")
        return 0.0 if found is None else found

    def _where(self, places: list[int] | None, norms: GradientNorms) -> str:
        """Where gradients ceased to be finite, in words; told from norms, which are those of all ranks."""
        each = norms.layer_norms if isinstance(norms.layer_norms, list) else norms.layer_norms.tolist()
        watched, without_gradient = self._watched, set[int]()
        if places is not None:
            present = {watched.layer_of.get(place) for place in places}
            without_gradient = set(range(len(watched.layout.layers))).difference(present)
        return _where_it_began(watched.layout, watched.spread(each, places, norms.norm_type), without_gradient)

    def _rescue_(self, fault: Exception, norms: GradientNorms | None = None, *, done: bool = False) -> None:
        """After a fault of ours: clip by torch alone what has not been clipped yet, and keep to the policy."""
        with contextlib.suppress(Exception):  # telling may be what has failed
            self._tell_fault(fault)
        if done:
            return
        try:
            with contextlib.suppress(Exception):
                self._set_aside.forget()
            if self._fused is not None:
                self._fused.take_back()
            if self._watched.sharded and isinstance(self._strategy, ClipByGlobalNorm):
                scale = self._scale_in_gradients()
                limit = self._strategy.max_norm * (1.0 if norms is not None or scale is None else float(scale))
                with contextlib.suppress(Exception):  # then torch's own way is all that is left
                    rescue_shards_(self._watched.parameters, limit, self.norm_type, norms)
                    return
            self._clip_by_torch_alone_()
        except NonFiniteGradientError:
            raise
        except Exception as second:  # noqa: BLE001 -- as above, and all ways to clip have been tried
            self._tell_once("unclipped", f"THE GRADIENTS COULD NOT BE CLIPPED: {second!r}")

    def _clip_by_torch_alone_(self) -> None:
        """What a loop without us would do. Calls as little of ours as can be, since something of it has failed."""
        if self._hook is None and self._scaler is not None:
            self._scaler.unscale_()
        parameters = distinct(parameter for group in self._optimizer.param_groups for parameter in group["params"])
        told = vars(self._optimizer)  # by a GradScaler, for a fused step
        # Ranks that hold different shards would each decide for themselves.
        if not (self._keeps or self._watched.sharded) and not _all_finite(parameters):
            if self._raises and not told.get("found_inf"):
                raise NonFiniteGradientError(f"the gradients of step {self.step} are not finite")
            for parameter in parameters:
                parameter.grad = None  # so the optimizer leaves it as it is
            return
        scale = told.get("grad_scale")
        self._strategy.clip_like_torch_(parameters, 1.0 if scale is None else scale)

    def _settle_overhead(self) -> None:
        self._overhead.settle()
        if self._overhead.share <= MUCH_OVERHEAD or self.step < LOOK_EVERY:
            return
        layers, share = counted(len(self.layout.layers), "layer"), 100 * self._overhead.share
        self._tell_once(
            "overhead",
            f"clipping and measuring {layers} takes {share:.1f} % of the time of {self.name}'s steps; with many "
            "layers, include= or group_by= measures fewer of them; larger batches and accumulation have fewer steps",
        )

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end a training
            self._tell_fault(fault)

    def _tell_fault(self, fault: Exception) -> None:
        self._tell_once(
            "fault", f"a step could not be measured ({fault!r}); gradients are still clipped, and training goes on"
        )

    def _tell_once(self, about: str, line: str) -> None:
        if about not in self._told:
            self._told.add(about)
            with contextlib.suppress(Exception):  # whoever tells may fail: there may be nobody left to tell
                self._tell(line)


class UnwatchedCopy:
    """What a pickled or deep copy of a monitor is: its name, and the advice to watch the copied model."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<a copy of gradvitals.Monitor {self.name!r}, which watches nothing>"

    def __reduce__(self) -> tuple[type[UnwatchedCopy], tuple[str]]:
        return UnwatchedCopy, (self.name,)

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(
            f"{attribute}: this is a copy of a monitor, and a copied model is not watched: call run.watch for it"
        )


def _where_it_began(layout: Layout, layer_norms: Iterable[float], without_gradient: Collection[int] = ()) -> str:
    """The layer in which gradients ceased to be finite, in words. One without a gradient says nothing either way."""
    names = [layer.name for layer in layout.layers]
    bad = [(layer, 1, 0) for layer, norm in enumerate(layer_norms) if not math.isfinite(norm)]
    first = first_non_finite(bad, len(names), without_gradient)
    return "no layer that is measured" if first is None else where_it_began(first, names)


def _all_finite(parameters: Iterable[Tensor]) -> bool:
    return all(parameter.grad is None or bool(parameter.grad.isfinite().all()) for parameter in parameters)


def monitor_of(optimizer: Optimizer) -> Monitor | None:
    """The monitor that watches ``optimizer`` now, in whichever run; None where there is none."""
    return _monitors.get(id(with_hooks(optimizer)))
