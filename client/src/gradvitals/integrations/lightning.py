"""A Lightning callback: clip and measure in the Trainer's optimizer steps, with the Trainer's own threshold.

While ``Trainer.fit`` runs, ``gradient_clip_val`` is None, ``save_checkpoint`` also tells the run of what it saved, and
the strategy's ``remove_checkpoint`` spares the last clean one; afterwards the Trainer is as it was. Works with that of
``lightning`` and, in a list of callbacks, that of ``pytorch_lightning``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

try:
    from lightning.pytorch import Callback
except ImportError:
    from pytorch_lightning import Callback  # type: ignore[assignment]  # the same class under its older name

from gradvitals.errors import ConfigurationError
from gradvitals.integrations.framework_run import FrameworkRun, harmless

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor
    from torch.optim import Optimizer

    from gradvitals.monitor import Monitor
    from gradvitals.run import Run


class GradvitalsCallback(Callback):
    """Watches each optimizer of a fit, logs the loss of each step, and tells of checkpoints.

    ``options`` are arguments of ``gradvitals.init``, for a run that begins and ends with the fit, and of ``run.watch``.
    ``Trainer(gradient_clip_val=..., gradient_clip_algorithm=...)`` says how to clip; with manual optimization, where
    Lightning takes no threshold, ``max_norm`` or ``clip_value`` here does. A ``run`` that is given is not finished by a
    fit that ends well. Raises ConfigurationError for a mistake, at the latest when the fit begins.
    """

    def __init__(self, run: Run | None = None, **options: Any) -> None:
        super().__init__()
        self._framework = FrameworkRun(run, options)
        self._step: int | None = None  # of the coming step, as a checkpoint says it
        self._step_of_batch = 0
        self._limits: dict[str, float] = {}  # the Trainer's own, while ours stand in for them

    @property
    def run(self) -> Run | None:
        """The run; None while no fit goes on."""
        return self._framework.run

    @property
    def monitors(self) -> list[Monitor]:
        """The monitors of the optimizers, in their order; empty while no fit goes on."""
        return list(self._framework.monitors)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin: the optimizers are there, and a checkpoint has been read."""
        if pl_module.configure_gradient_clipping.__qualname__ != "LightningModule.configure_gradient_clipping":
            raise ConfigurationError(
                f"{type(pl_module).__name__}.configure_gradient_clipping clips by itself, before anything can be"
                " measured: remove it, and say how to clip by Trainer(gradient_clip_val=...) or by this callback's"
                " max_norm, clip_value or strategy"
            )
        step = self._step
        if step is None:
            step = trainer.global_step // max(len(trainer.optimizers), 1)  # it counts the steps of all optimizers
        self._step = None
        run = self._framework.begin(step)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        names = _names(pl_module, trainer.optimizers)
        for name, optimizer in zip(names, trainer.optimizers, strict=True):
            self._framework.watch(pl_module, optimizer, name=name, scaler=scaler, limits=_limits(trainer))
        self._limits = _limits(trainer)
        save_checkpoint, remove_checkpoint = trainer.save_checkpoint, trainer.strategy.remove_checkpoint

        def save_and_tell(filepath: Any, *args: Any, **kwargs: Any) -> None:
            save_checkpoint(filepath, *args, **kwargs)
            run.saved(run.step, filepath)

        def remove_unless_spared(filepath: Any) -> None:
            self._framework.rotate(os.fspath(filepath), remove_checkpoint)

        self._framework.take_over(trainer, gradient_clip_val=None, save_checkpoint=save_and_tell)
        self._framework.take_over(trainer.strategy, remove_checkpoint=remove_unless_spared)

    @harmless
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the step that this batch is for."""
        self._step_of_batch = self._framework.step

    @harmless
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Log the loss as the user knows it: Lightning has divided it by the batches of a step, and scaled it."""
        if self._framework.run is None:
            return
        if pl_module.automatic_optimization and self._framework.step != self._step_of_batch:
            return  # LBFGS evaluates a batch again within its step, whose frame is there already
        loss = loss.detach() * trainer.accumulate_grad_batches
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            loss = loss / scaler.scale(torch.ones_like(loss))  # get_scale() would wait for the device
        self._framework.run.log(loss=loss)

    @harmless
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Watch an optimizer that was put at the place of another one during the fit; its first step is Lightning's."""
        if self._framework.run is None or self._framework.knows(optimizer):
            return
        algorithm, limit = next(iter(self._limits.items()), (None, None))
        # Within its step it is too late for a hook.
        if limit is not None:
            pl_module.clip_gradients(optimizer, limit, "value" if algorithm == "clip_value" else "norm")
        place = next(place for place, known in enumerate(trainer.optimizers) if known is optimizer)
        self._framework.watch_instead(place, pl_module, optimizer)

    @harmless
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """No steps for a while."""
        self._framework.pause("validation")

    @harmless
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Steps come again."""
        self._framework.resume()

    @harmless
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End with a fit that ended well."""
        self._framework.end()

    @harmless
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End with a fit that failed or was interrupted."""
        self._framework.end(exception)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the number of the coming step, of the first optimizer where there are several."""
        return {} if self._framework.run is None else {"step": self._framework.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the step of a checkpoint."""
        self._step = state_dict["step"]


def _limits(trainer: Trainer) -> dict[str, float]:
    """What the Trainer would clip to, as an argument of ``watch``. Lightning's own word for off is also 0 or less."""
    limit = trainer.gradient_clip_val
    if limit is None or limit <= 0:
        return {}
    return {"clip_value" if trainer.gradient_clip_algorithm == "value" else "max_norm": limit}


def _names(module: LightningModule, optimizers: list[Optimizer]) -> list[str | None]:
    """For several optimizers the attributes whose parameters they step, such as ``generator``; else the default."""
    if len(optimizers) < 2:
        return [None] * len(optimizers)
    child_of = {id(parameter): name.partition(".")[0] for name, parameter in module.named_parameters()}
    names = []
    for optimizer in optimizers:
        children = {child_of.get(id(parameter)) for group in optimizer.param_groups for parameter in group["params"]}
        names.append(children.pop() if len(children) == 1 else None)
    return names if len(set(names)) == len(names) else [None] * len(names)
