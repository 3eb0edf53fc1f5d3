"""The Trainer of Transformers trains with our callback as it does with its own clip, and logs the same norm."""

from __future__ import annotations

import functools
import json
import math

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers import trainer as trainer_module

import gradvitals
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP
from gradvitals.integrations.transformers import GradvitalsCallback


class Regression(nn.Module):
    """Two layers and a steep loss, in the shape that the Trainer likes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, inputs, labels):
        outputs = self.outer(torch.tanh(self.inner(inputs))).squeeze(-1)
        return {"loss": nn.functional.mse_loss(outputs.float(), labels), "outputs": outputs}


def examples() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"inputs": torch.randn(3, generator=generator), "labels": 5 * torch.randn((), generator=generator)}
        for _ in range(32)
    ]


def make_trainer(folder, model: nn.Module | None = None, data=None, **arguments) -> Trainer:
    """A Trainer of six steps that logs each of them."""
    settings = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        learning_rate=0.01,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **{"max_steps": 6, "max_grad_norm": 1.0, "save_strategy": "no", **arguments},
    )
    data = data or examples()
    return Trainer(model=model or Regression(), args=settings, train_dataset=data, eval_dataset=data[:4])


@pytest.fixture
def make(tmp_path):
    """Makes Trainers that save into the test's folder."""
    return functools.partial(make_trainer, tmp_path)


def train(trainer: Trainer, transport: gradvitals.MemoryTransport | None = None, **options) -> Trainer:
    """Train, with a callback if there is a transport."""
    if transport is not None:
        trainer.add_callback(GradvitalsCallback(trainer, url=transport, **options))
    trainer.train()
    return trainer


def logged(trainer: Trainer, name: str) -> list[float]:
    return [logs[name] for logs in trainer.state.log_history if name in logs]


HOW = {
    "fused, as is its default": {},
    "not fused": {"optim": "adamw_torch"},
    "over two batches a step": {"gradient_accumulation_steps": 2},
    "over two batches and a rest": {"gradient_accumulation_steps": 3},  # an epoch has eight
    "in bf16": {"bf16": True},
}


@pytest.mark.parametrize("arguments", HOW.values(), ids=HOW)
class TestClippingInItsPlace:
    def test_the_trainer_logs_the_losses_and_norms_of_its_own_clip(self, make, transport, arguments):
        theirs, ours = train(make(**arguments)), train(make(**arguments), transport)
        assert logged(ours, "loss") == pytest.approx(logged(theirs, "loss"), rel=1e-6)
        assert logged(ours, "grad_norm") == pytest.approx(logged(theirs, "grad_norm"), rel=1e-6)
        assert all(frame.clip_coefficient < 1.0 for frame in transport.frames())

    def test_a_frame_holds_the_loss_and_the_norm_that_the_trainer_logs(self, make, transport, arguments):
        trainer = train(make(**arguments), transport)
        frames = transport.frames()
        assert [frame.loss for frame in frames] == pytest.approx(logged(trainer, "loss"), rel=1e-6)
        assert [frame.global_norm for frame in frames] == pytest.approx(logged(trainer, "grad_norm"), rel=1e-6)
        assert [frame.step for frame in frames] == list(range(6))


class TestNonFinite:
    """The Trainer's clip, and also its mere measuring, turn one infinite gradient into NaN everywhere."""

    class Fails(Regression):
        """An infinite gradient, in one weight of the inner layer, at the third forward pass."""

        def __init__(self) -> None:
            super().__init__()
            self.passes = 0

        def forward(self, inputs, labels):
            outcome = super().forward(inputs, labels)
            self.passes += 1
            if self.passes == 3:
                outcome["loss"] = outcome["loss"] + math.inf * self.inner.weight[0, 0]
            return outcome

    def test_the_layer_in_which_it_began_is_known(self, make, transport):
        train(make(self.Fails()), transport, on_non_finite="skip")
        names = [layer.name for layer in transport.frames()[0].layout.layers]
        bad = next(frame for frame in transport.frames() if frame.flags & FLAG_NON_FINITE)
        assert [(names[layer], nan, inf) for layer, nan, inf in bad.non_finite] == [("inner.weight", 0, 1)]

    def test_a_policy_is_that_of_watch(self, make, transport):
        trainer = train(make(self.Fails()), transport, on_non_finite="skip")
        assert [frame.flags & FLAG_SKIPPED_STEP for frame in transport.frames()] == [0, 0, FLAG_SKIPPED_STEP, 0, 0, 0]
        assert all(weight.isfinite().all() for weight in trainer.model.parameters())


class TestTheTrainersThreshold:
    def test_stays_in_its_arguments(self, make, transport):
        trainer = train(make(max_grad_norm=0.5), transport)
        assert trainer.args.max_grad_norm == 0.5
        assert [frame.max_norm for frame in transport.frames()] == [0.5] * 6

    def test_may_be_off_and_the_norm_is_logged_all_the_same(self, make, transport):
        theirs, ours = train(make(max_grad_norm=0.0)), train(make(max_grad_norm=0.0), transport)
        assert logged(ours, "grad_norm") == pytest.approx(logged(theirs, "grad_norm"), rel=1e-6)
        assert [frame.max_norm for frame in transport.frames()] == [math.inf] * 6

    def test_and_one_of_the_callback_contradict_each_other(self, make, transport):
        with pytest.raises(gradvitals.ConfigurationError, match=r"max_norm=1\), and so does the callback's clip_value"):
            train(make(), transport, clip_value=1.0)
        assert transport.outcomes == [("failed", "ConfigurationError")]


class TestWhatIsLeftBehind:
    def test_nothing_on_optimizer_and_accelerator(self, make, transport):
        trainer = make()
        before = set(vars(trainer.accelerator))
        train(trainer, transport)
        assert set(vars(trainer.accelerator)) == before
        assert not trainer.optimizer.optimizer._optimizer_step_pre_hooks
        assert not trainer.optimizer.optimizer._optimizer_step_post_hooks

    def test_what_somebody_else_had_put_there_is_there_again(self, make, transport):
        trainer = make()
        backward = trainer.accelerator.backward
        trainer.accelerator.backward = backward
        train(trainer, transport)
        assert vars(trainer.accelerator)["backward"] is backward

    def test_a_monitor_that_is_closed_gives_the_clip_back_to_the_trainer(self, make, transport):
        trainer = make()
        callback = GradvitalsCallback(trainer, url=transport)

        class Closes(TrainerCallback):
            def on_step_begin(self, args, state, control, **kwargs):
                if state.global_step == 3:
                    callback.monitor.close()

        trainer.add_callback(callback)
        trainer.add_callback(Closes())
        theirs, ours = train(make()), train(trainer)
        assert len(transport.frames()) == 3
        assert logged(ours, "loss") == pytest.approx(logged(theirs, "loss"), rel=1e-6)
        assert logged(ours, "grad_norm") == pytest.approx(logged(theirs, "grad_norm"), rel=1e-6)


class TestOutcome:
    def test_a_training_that_ends_well_finishes_its_run(self, make, transport):
        train(make(), transport)
        assert transport.outcomes == [("finished", None)]

    def test_one_that_failed_does_not_stand_in_the_way_of_the_next(self, make, transport):
        trainer = make(TestNonFinite.Fails())
        with pytest.raises(gradvitals.NonFiniteGradientError):
            train(trainer, transport, on_non_finite="raise")
        trainer.model = Regression()
        trainer.optimizer = trainer.lr_scheduler = None
        trainer.train()
        assert [len(body["monitors"]) for body in transport.attempts.values()] == [1, 1]
        assert len(transport.frames()) == 3 + 6

    def test_a_run_that_is_given_names_the_exception_and_is_its_owners_to_finish(self, make, transport):
        trainer = make(TestNonFinite.Fails())
        with pytest.raises(gradvitals.NonFiniteGradientError):
            self.train_within_a_run(trainer, transport)
        assert transport.outcomes == [("failed", "NonFiniteGradientError")]

    def train_within_a_run(self, trainer, transport):
        with gradvitals.init(url=transport) as run:
            trainer.add_callback(GradvitalsCallback(trainer, run, on_non_finite="raise"))
            trainer.train()


class TestEvaluation:
    def test_is_a_pause(self, make, transport):
        class Waits(Regression):
            def forward(self, inputs, labels):
                if not self.training and self.evaluated:
                    assert transport.paused.wait(10)
                self.evaluated = not self.training
                return super().forward(inputs, labels)

        model = Waits()
        model.evaluated = False
        trainer = train(make(model, eval_strategy="steps", eval_steps=6, per_device_eval_batch_size=1), transport)
        assert len(logged(trainer, "eval_loss")) == 1
        assert transport.paused.is_set()
        assert transport.outcomes == [("finished", None)]


class TestCheckpoints:
    def test_a_resumed_training_goes_on_with_their_step_as_if_it_had_not_stopped(self, make, transport, tmp_path):
        whole = train(make(max_steps=8))
        train(make(max_steps=8, save_strategy="steps", save_steps=5))
        resumed = make(max_steps=8)
        resumed.add_callback(GradvitalsCallback(resumed, url=transport))
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
        assert [frame.step for frame in transport.frames()] == [5, 6, 7]
        assert [frame.loss for frame in transport.frames()] == pytest.approx(logged(whole, "loss")[5:], rel=1e-6)

    def test_are_told_of_with_the_steps_that_they_hold(self, make, transport, tmp_path):
        train(make(save_strategy="steps", save_steps=3), transport)
        told = {path: saved["step"] for path, saved in transport.checkpoints.items()}
        assert told == {str(tmp_path / f"checkpoint-{step}"): step for step in (3, 6)}

    def test_a_rotation_spares_the_last_clean_one_and_the_service_hears_of_the_others(self, make, transport, tmp_path):
        data = examples()
        data[12]["labels"] = torch.tensor(math.nan)  # in one of an epoch's eight batches, wherever it is shuffled to
        trainer = make(data=data, max_steps=16, save_strategy="steps", save_steps=1, save_total_limit=2)
        train(trainer, transport)
        spoiled_at = next(frame.step for frame in transport.frames() if not math.isfinite(frame.global_norm))
        left = {int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*")}
        assert left == {spoiled_at, 15, 16}
        assert {saved["step"] for saved in transport.checkpoints.values()} == left

    def test_a_rotation_of_a_healthy_training_is_the_trainers_own(self, make, transport, tmp_path):
        train(make(save_strategy="steps", save_steps=1, save_total_limit=2), transport)
        assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-5", "checkpoint-6"}

    def test_the_rotation_is_the_trainers_own_again_afterwards(self, make, transport):
        before = vars(trainer_module)["rotate_checkpoints"]
        train(make(), transport)
        assert vars(trainer_module)["rotate_checkpoints"] is before

    def test_keep_the_trainers_own_threshold(self, make, transport, tmp_path):
        train(make(save_strategy="steps", save_steps=6), transport)
        saved = torch.load(tmp_path / "checkpoint-6" / "training_args.bin", weights_only=False)
        assert saved.max_grad_norm == 1.0
        assert json.loads((tmp_path / "checkpoint-6" / "trainer_state.json").read_text())["global_step"] == 6
