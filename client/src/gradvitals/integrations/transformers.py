"""A callback for the Trainer of Hugging Face Transformers: clip and measure in its optimizer steps, by its threshold.

While ``trainer.train`` runs, two methods of the Trainer's Accelerator are ours: ``clip_grad_norm_``, which does nothing
but answer with the norm that we measure, and ``backward``, where the loss is seen. So the Trainer logs our norm as its
``grad_norm``, and its arguments stay as they are, also in its checkpoints. The function by which it deletes old ones
spares the last clean one.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback
from transformers import trainer as trainer_module
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints

from gradvitals.integrations.framework_run import FrameworkRun, harmless
from gradvitals.monitor import monitor_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

    from gradvitals.monitor import Monitor
    from gradvitals.run import Run


class GradvitalsCallback(TrainerCallback):
    """Watches the optimizer of one Trainer, and logs the loss of each step.

        trainer.add_callback(GradvitalsCallback(trainer, project="summaries"))

    ``options`` are arguments of ``gradvitals.init``, for a run that begins and ends with ``trainer.train``, and of
    ``run.watch``. ``TrainingArguments(max_grad_norm=...)`` says how to clip. The Trainer tells a callback of no
    exception: a training that fails ends its run when the interpreter does, or when its owner ends a ``run`` that is
    given. Raises ConfigurationError for a mistake, at the latest when training begins.
    """

    def __init__(self, trainer: Trainer, run: Run | None = None, **options: Any) -> None:
        self._trainer = trainer
        self._framework = FrameworkRun(run, options)
        self._grad_norm = torch.full((), torch.nan)

    @property
    def run(self) -> Run | None:
        """The run; None while no training goes on."""
        return self._framework.run

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the optimizer; None while no training goes on."""
        return next(iter(self._framework.monitors), None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin: the optimizer is there, and a checkpoint has been read."""
        self._framework.end()  # of a training that failed, or that begins again with smaller batches
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        limits = {"max_norm": args.max_grad_norm} if args.max_grad_norm > 0 else {}
        run = self._framework.begin(state.global_step)
        # What the Trainer logs, by .item(), after the step in which it was measured. On a device nothing waits for it.
        device = next(model.parameters()).device
        self._grad_norm = torch.full(
            (), torch.nan, dtype=torch.float64 if device.type == "cpu" else None, device=device
        )
        try:
            scaler = getattr(optimizer, "scaler", None)
            self._framework.watch(model, optimizer, scaler=scaler, limits=limits)
        except Exception as mistake:
            self._framework.end(mistake)
            raise
        self._take_over(self._trainer.accelerator, optimizer, run)
        self._take_over_rotation()

    @harmless
    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Have the norm of this step logged, if it is logged."""
        self._grad_norm.copy_(torch.as_tensor(torch.nan if self.monitor is None else self.monitor.global_norm))

    @harmless
    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        """An evaluation goes on: no steps for a while."""
        self._framework.pause("evaluation")

    @harmless
    def on_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Steps come again."""
        self._framework.resume()

    on_predict = on_evaluate

    @harmless
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell of a checkpoint."""
        if self.run is not None:
            folder = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            self.run.saved(self.run.step, os.path.join(str(args.output_dir), folder))

    @harmless
    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """End with a training that ended well."""
        self._framework.end()

    def _take_over_rotation(self) -> None:
        save_checkpoint = self._trainer._save_checkpoint
        rotate_checkpoints = vars(trainer_module)["rotate_checkpoints"]

        def rotate_and_spare(
            output_dir: str, save_total_limit: int | None = None, best_model_checkpoint: str | None = None, **how: Any
        ) -> None:
            if save_total_limit is None or save_total_limit <= 0:
                rotate_checkpoints(output_dir, save_total_limit, best_model_checkpoint, **how)
                return
            # The newest comes last, the best before it; neither of them ever goes.
            checkpoints = sort_checkpoints(output_dir, best_model_checkpoint=best_model_checkpoint, **how)
            stay = max(save_total_limit, 1 if best_model_checkpoint in (None, *checkpoints[-1:]) else 2)
            for path in checkpoints[:-stay]:
                self._framework.rotate(path, lambda old: shutil.rmtree(old, ignore_errors=True))

        def save_and_spare(*args: Any, **kwargs: Any) -> None:
            vars(trainer_module)["rotate_checkpoints"] = rotate_and_spare  # a function of the module, so not for long
            try:
                save_checkpoint(*args, **kwargs)
            finally:
                vars(trainer_module)["rotate_checkpoints"] = rotate_checkpoints

        self._framework.take_over(self._trainer, _save_checkpoint=save_and_spare)

    def _take_over(self, accelerator: Any, optimizer: Optimizer, run: Run) -> None:
        backward, clip_grad_norm_ = accelerator.backward, accelerator.clip_grad_norm_

        def log_and_backward(loss: Tensor, **kwargs: Any) -> None:
            # The losses of a step's batches add up to its loss, and run.log takes the mean of what it is given.
            run.log(loss=loss.detach() * self._trainer.current_gradient_accumulation_steps)
            backward(loss, **kwargs)

        def tell_norm(parameters: Any, max_norm: float, norm_type: float = 2) -> Any:
            if monitor_of(optimizer) is None:  # somebody has closed our monitor: nobody else would clip
                return clip_grad_norm_(parameters, max_norm, norm_type)
            return self._grad_norm

        self._framework.take_over(accelerator, backward=log_and_backward, clip_grad_norm_=tell_norm)
