"""Lightning trains with our callback as it does with its own clip, and every step of it is a frame."""

from __future__ import annotations

import math
from pathlib import Path

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import grad_norm
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gradvitals
from gradvitals.frames import FLAG_ALREADY_CLIPPED, FLAG_NON_FINITE, FLAG_SKIPPED_STEP
from gradvitals.integrations.lightning import GradvitalsCallback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning asks torch in a way that torch gives up
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # nor does it need them
]


class Regression(lightning.LightningModule):
    """Two layers and a steep loss; keeps each batch's loss, and Lightning's norm of each step's gradients."""

    def __init__(self, optimizer=torch.optim.AdamW, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(3, 8), nn.Linear(8, 1)
        self.make_optimizer = lambda parameters: optimizer(parameters, **{"lr": 0.01, **options})
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.thresholds: list[float | None] = []

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.outer(torch.tanh(self.inner(inputs))).squeeze(1).float(), targets)
        self.losses.append(loss.item())
        self.thresholds.append(self.trainer.gradient_clip_val)
        return loss

    def on_before_optimizer_step(self, optimizer):
        self.norms.append(float(grad_norm(self, 2)["grad_2.0_norm_total"]))

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


class Adversarial(Regression):
    """A generator and a discriminator, each with an optimizer of its own, stepped by hand."""

    def __init__(self, clips_itself: bool = False, generator_every: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = nn.Linear(3, 3), nn.Linear(3, 1)
        del self.inner, self.outer
        self.clips_itself, self.generator_every = clips_itself, generator_every

    def training_step(self, batch, batch_idx):
        inputs, _ = batch
        for optimizer, sign, every in zip(self.optimizers(), (1.0, -1.0), (self.generator_every, 1), strict=True):
            if batch_idx % every:
                continue
            optimizer.zero_grad()
            loss = sign * self.discriminator(torch.tanh(self.generator(inputs))).mean()
            self.manual_backward(loss)
            if self.clips_itself:
                self.clip_gradients(optimizer, gradient_clip_val=0.01, gradient_clip_algorithm="norm")
            optimizer.step()
            self.losses.append(loss.item())

    def on_before_optimizer_step(self, optimizer):
        pass

    def configure_optimizers(self):
        return [torch.optim.SGD(half.parameters(), 0.1) for half in (self.generator, self.discriminator)]


def batches(fault_at: int | None = None, value: float = math.nan) -> DataLoader:
    """Eight batches of four; the one at ``fault_at`` has a target that is ``value``."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(32, 3, generator=generator), 5 * torch.randn(32, generator=generator)
    if fault_at is not None:
        targets[4 * fault_at] = value
    return DataLoader(TensorDataset(inputs, targets), batch_size=4)


def trainer(*callbacks: Callback, steps: int = 6, **options) -> lightning.Trainer:
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    return lightning.Trainer(accelerator="cpu", max_steps=steps, callbacks=list(callbacks), **{**quiet, **options})


def fit(module: Regression, *callbacks: Callback, data: DataLoader | None = None, **options) -> Regression:
    trainer(*callbacks, **options).fit(module, data or batches())
    return module


def fp16(init_scale: float = 1024.0) -> dict[str, object]:
    """Trainer's ``precision="16-mixed"``, which on a CPU has to be put together by hand."""
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=1_000)
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler=scaler)]}


HOW = {
    "by norm": ({}, dict),
    "by value": ({}, lambda: {"gradient_clip_algorithm": "value"}),
    "fused": ({"fused": True}, dict),
    "over two batches a step": ({}, lambda: {"accumulate_grad_batches": 2}),
    "in bf16": ({}, lambda: {"precision": "bf16-mixed"}),
    "in fp16": ({}, fp16),
}


@pytest.mark.parametrize(("of_optimizer", "of_trainer"), HOW.values(), ids=HOW)
class TestClippingInItsPlace:
    def test_the_loss_curve_is_that_of_lightnings_own_clip(self, transport, of_optimizer, of_trainer):
        theirs = fit(Regression(**of_optimizer), gradient_clip_val=1.0, **of_trainer())
        ours = fit(Regression(**of_optimizer), GradvitalsCallback(url=transport), gradient_clip_val=1.0, **of_trainer())
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)
        assert any(frame.clip_coefficient < 1.0 for frame in transport.frames())

    def test_a_frame_holds_the_norm_that_lightning_measures(self, transport, of_optimizer, of_trainer):
        module = fit(
            Regression(**of_optimizer), GradvitalsCallback(url=transport), gradient_clip_val=1.0, **of_trainer()
        )
        assert [frame.global_norm for frame in transport.frames()] == pytest.approx(module.norms, rel=1e-6)
        assert [frame.step for frame in transport.frames()] == list(range(6))


class TestFusedInFp16:
    """Lightning cannot clip there, since the gradients carry the loss scale until the optimizer divides by it."""

    def test_lightning_alone_refuses(self):
        with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
            fit(Regression(fused=True), gradient_clip_val=1.0, **fp16())

    def test_with_us_it_trains_as_an_optimizer_that_is_not_fused(self, transport):
        theirs = fit(Regression(), gradient_clip_val=1.0, **fp16())
        ours = fit(Regression(fused=True), GradvitalsCallback(url=transport), gradient_clip_val=1.0, **fp16())
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)
        assert [frame.global_norm for frame in transport.frames()] == pytest.approx(theirs.norms, rel=1e-6)


class TestOverflow:
    """A loss scale of 2**40 overflows half precision; the scaler skips the step and halves it."""

    @pytest.mark.parametrize("fused", [False, True])
    def test_a_step_that_the_scaler_skips_is_a_flagged_frame_with_its_loss_scale(self, transport, fused):
        fit(Regression(fused=fused), GradvitalsCallback(url=transport), gradient_clip_val=1.0, **fp16(2.0**40))
        flags = FLAG_NON_FINITE | FLAG_SKIPPED_STEP
        assert [frame.flags & flags for frame in transport.frames()] == [flags] * 6
        assert [frame.loss_scale for frame in transport.frames()] == [2.0 ** (40 - step) for step in range(6)]


class TestLoss:
    def test_is_that_of_the_training_step(self, transport):
        module = fit(Regression(), GradvitalsCallback(url=transport))
        assert [frame.loss for frame in transport.frames()] == pytest.approx(module.losses)

    def test_is_the_mean_over_the_batches_of_a_step(self, transport):
        module = fit(Regression(), GradvitalsCallback(url=transport), accumulate_grad_batches=2, steps=2)
        first, second = transport.frames()
        assert first.loss == pytest.approx((module.losses[0] + module.losses[1]) / 2)
        assert second.loss == pytest.approx((module.losses[2] + module.losses[3]) / 2)

    def test_comes_without_the_loss_scale(self, transport):
        module = fit(Regression(), GradvitalsCallback(url=transport), **fp16())
        assert [frame.loss for frame in transport.frames()] == pytest.approx(module.losses)

    def test_is_the_first_of_a_step_that_lbfgs_evaluates_several_times(self, transport):
        module = fit(Regression(torch.optim.LBFGS, max_iter=4, lr=0.1), GradvitalsCallback(url=transport), steps=2)
        evaluations = len(module.losses) // 2
        assert evaluations > 1
        assert [frame.loss for frame in transport.frames()] == pytest.approx(module.losses[::evaluations])


class TestManualOptimization:
    """Lightning takes no threshold for it, so the callback does."""

    def test_each_optimizer_has_a_monitor_that_is_named_for_what_it_steps(self, transport):
        fit(Adversarial(), GradvitalsCallback(url=transport, max_norm=0.01))
        assert [len(transport.frames(name)) for name in ("generator", "discriminator")] == [3, 3]
        assert [layer.name for layer in transport.frames("generator")[0].layout.layers] == [
            "generator.weight",
            "generator.bias",
        ]

    def test_the_losses_are_those_of_a_module_that_clips_itself(self, transport):
        theirs = fit(Adversarial(clips_itself=True))
        ours = fit(Adversarial(), GradvitalsCallback(url=transport, max_norm=0.01))
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)
        assert transport.frames("generator")[0].clip_coefficient < 1.0

    def test_each_frame_has_the_loss_of_its_own_backward(self, transport):
        module = fit(Adversarial(), GradvitalsCallback(url=transport))
        assert [frame.loss for frame in transport.frames("generator")] == pytest.approx(module.losses[::2])
        assert [frame.loss for frame in transport.frames("discriminator")] == pytest.approx(module.losses[1::2])

    def test_a_module_that_goes_on_clipping_itself_is_told_so(self, transport, capfd):
        module = Adversarial(clips_itself=True)
        fit(module, GradvitalsCallback(url=transport, max_norm=1.0), steps=160)
        assert transport.frames("generator")[-1].flags & FLAG_ALREADY_CLIPPED
        assert "remove your clip_grad_norm_(..., 0.01)" in capfd.readouterr().err


class TestNonFinite:
    def test_a_policy_is_that_of_watch(self, transport):
        module = Regression()
        fit(module, GradvitalsCallback(url=transport, on_non_finite="skip"), data=batches(fault_at=2))
        assert [frame.flags & FLAG_SKIPPED_STEP for frame in transport.frames()] == [0, 0, FLAG_SKIPPED_STEP, 0, 0, 0]
        assert all(weight.isfinite().all() for weight in module.parameters())

    def test_the_policy_raise_ends_the_fit_and_the_run(self, transport):
        with pytest.raises(gradvitals.NonFiniteGradientError):
            fit(Regression(), GradvitalsCallback(url=transport, on_non_finite="raise"), data=batches(fault_at=2))
        assert transport.outcomes == [("failed", "NonFiniteGradientError")]


class TestTheTrainersThreshold:
    def test_is_ours_while_it_trains_and_its_own_before_and_after(self, transport):
        module, loop = Regression(), trainer(GradvitalsCallback(url=transport), gradient_clip_val=1.0)
        loop.fit(module, batches())
        assert module.thresholds == [None] * 6
        assert loop.gradient_clip_val == 1.0

    def test_is_its_own_after_an_exception_too(self, transport):
        loop = trainer(GradvitalsCallback(url=transport, on_non_finite="raise"), gradient_clip_val=1.0)
        with pytest.raises(gradvitals.NonFiniteGradientError):
            loop.fit(Regression(), batches(fault_at=2))
        assert loop.gradient_clip_val == 1.0

    @pytest.mark.parametrize("off", [None, 0.0])
    def test_is_left_out_where_it_is_off(self, transport, off):
        fit(Regression(), GradvitalsCallback(url=transport), gradient_clip_val=off)
        assert [frame.max_norm for frame in transport.frames()] == [math.inf] * 6

    def test_and_one_of_the_callback_contradict_each_other(self, transport):
        with pytest.raises(gradvitals.ConfigurationError, match=r"max_norm=1\), and so does the callback's clip_value"):
            fit(Regression(), GradvitalsCallback(url=transport, clip_value=1.0), gradient_clip_val=1.0)
        assert transport.outcomes == [("failed", "ConfigurationError")]

    def test_is_not_taken_from_a_module_that_clips_in_a_way_of_its_own(self, transport):
        class ByItself(Regression):
            def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
                self.clip_gradients(optimizer, gradient_clip_val=2 * gradient_clip_val)

        with pytest.raises(gradvitals.ConfigurationError, match=r"ByItself\.configure_gradient_clipping clips"):
            fit(ByItself(), GradvitalsCallback(url=transport), gradient_clip_val=1.0)


class TestWhatIsLeftBehind:
    def test_nothing_on_optimizer_scaler_and_trainer(self, transport):
        loop = trainer(GradvitalsCallback(url=transport), gradient_clip_val=1.0, **fp16())
        scaler = loop.precision_plugin.scaler
        module = Regression()
        before = [set(vars(owner)) for owner in (loop, scaler)]
        loop.fit(module, batches())
        (optimizer,) = loop.optimizers
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        assert [set(vars(owner)) for owner in (loop, scaler)] == before


class TestOutcome:
    def test_a_fit_that_ends_well_finishes_its_run(self, transport):
        fit(Regression(), GradvitalsCallback(url=transport))
        assert transport.outcomes == [("finished", None)]

    def test_one_that_fails_names_the_exception(self, transport):
        class Fails(Regression):
            def training_step(self, batch, batch_idx):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fit(Fails(), GradvitalsCallback(url=transport))
        assert transport.outcomes == [("failed", "ZeroDivisionError")]

    def test_one_that_is_interrupted_says_so_although_lightning_leaves_by_sys_exit(self, transport):
        class Interrupted(Regression):
            def on_train_batch_end(self, outputs, batch, batch_idx):
                raise KeyboardInterrupt

        with pytest.raises(SystemExit):
            fit(Interrupted(), GradvitalsCallback(url=transport))
        assert transport.outcomes == [("failed", "KeyboardInterrupt")]

    def test_two_fits_are_two_runs(self, transport):
        callback = GradvitalsCallback(url=transport)
        fit(Regression(), callback, steps=1)
        fit(Regression(), callback, steps=2)
        assert len(transport.runs) == 2
        assert callback.run is None
        assert callback.monitors == []


class TestARunThatIsGiven:
    def test_may_have_several_fits_and_is_its_owners_to_finish(self, transport):
        with gradvitals.init(url=transport) as run:
            callback = GradvitalsCallback(run, max_norm=1.0)
            fit(Regression(), callback, steps=2)
            fit(Regression(), callback, steps=3)
        assert transport.outcomes == [("finished", None)]
        assert [len(transport.frames(monitor)) for monitor in ("main", "main-2")] == [2, 3]

    def test_takes_no_arguments_of_init(self, transport):
        run = gradvitals.init(mode="disabled")
        with pytest.raises(gradvitals.ConfigurationError, match=r"project is for .*, but a run was given"):
            GradvitalsCallback(run, project="p")


class TestValidation:
    def test_is_a_pause(self, transport):
        class Validated(Regression):
            def validation_step(self, batch, batch_idx):
                assert transport.paused.wait(10)

        loop = trainer(GradvitalsCallback(url=transport), steps=8, num_sanity_val_steps=0, limit_val_batches=1)
        loop.fit(Validated(), batches(), batches())
        assert transport.paused.is_set()
        assert transport.outcomes == [("finished", None)]

    def test_outside_a_fit_is_none_of_our_business(self, transport):
        class Validated(Regression):
            def validation_step(self, batch, batch_idx):
                pass

        trainer(GradvitalsCallback(url=transport)).validate(Validated(), batches(), verbose=False)
        assert transport.runs == {}


class TestCheckpoints:
    def test_are_told_of_whoever_saves_them_with_the_steps_that_they_hold(self, transport, tmp_path):
        class Saves(Regression):
            def on_train_batch_end(self, outputs, batch, batch_idx):
                if batch_idx == 4:
                    self.trainer.save_checkpoint(tmp_path / "by-hand")

        by_itself = ModelCheckpoint(dirpath=tmp_path, filename="by-itself", every_n_train_steps=3)
        fit(Saves(), GradvitalsCallback(url=transport), by_itself, steps=5, enable_checkpointing=True)
        told = {Path(path).name: saved["step"] for path, saved in transport.checkpoints.items()}
        assert told == {"by-itself.ckpt": 3, "by-hand": 5}

    def test_a_rotation_spares_the_last_clean_one_and_the_service_is_told_of_the_others(self, transport, tmp_path):
        every_step = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=1)  # keeps the newest
        data = batches(fault_at=3)
        fit(Regression(), GradvitalsCallback(url=transport), every_step, data=data, enable_checkpointing=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["step=3.ckpt", "step=6.ckpt"]
        assert sorted(Path(path).name for path in transport.checkpoints) == ["step=3.ckpt", "step=6.ckpt"]

    def test_a_rotation_of_a_healthy_training_is_lightnings_own(self, transport, tmp_path):
        every_step = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=1)
        fit(Regression(), GradvitalsCallback(url=transport), every_step, enable_checkpointing=True)
        assert "step=6.ckpt" in [path.name for path in tmp_path.iterdir()]
        assert len(list(tmp_path.iterdir())) <= 2  # what was just saved is clean once its last step was looked at


class TestAnOptimizerThatIsReplaced:
    """In the middle of a fit, by one of the same layers."""

    class Replaces(Regression):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 3:
                self.trainer.optimizers = [torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)]

    def test_is_clipped_from_its_first_step_and_measured_from_its_second_on(self, transport):
        lightnings = fit(self.Replaces(), gradient_clip_val=1.0)
        ours = fit(self.Replaces(), GradvitalsCallback(url=transport), gradient_clip_val=1.0)
        assert ours.losses == pytest.approx(lightnings.losses, rel=1e-6)
        assert [frame.step for frame in transport.frames()] == [0, 1, 2, 4, 5]

    def test_is_left_alone_after_the_fit(self, transport):
        module = fit(self.Replaces(), GradvitalsCallback(url=transport), gradient_clip_val=1.0)
        (optimizer,) = module.trainer.optimizers
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks


class TestResuming:
    """From a checkpoint at the end of an epoch, which has eight batches."""

    def test_goes_on_with_the_step_of_the_checkpoint(self, transport, tmp_path):
        first = trainer(GradvitalsCallback(mode="disabled"), steps=8)
        first.fit(Regression(), batches())
        first.save_checkpoint(tmp_path / "last")
        self.resume(Regression(), tmp_path, transport, steps=10)
        assert [frame.step for frame in transport.frames()] == [8, 9]

    @pytest.mark.filterwarnings("ignore:You're resuming")  # Lightning takes 12 steps for one and a half epochs
    def test_counts_the_steps_of_the_first_optimizer_where_there_are_several(self, transport, tmp_path):
        self.train_an_epoch(Adversarial(generator_every=2), tmp_path, GradvitalsCallback(mode="disabled"))
        self.resume(Adversarial(generator_every=2), tmp_path, transport, steps=15)
        assert [frame.step for frame in transport.frames("generator")] == [4, 5]  # and 8 of the discriminator

    def test_takes_lightnings_count_where_the_checkpoint_does_not_know_us(self, transport, tmp_path):
        self.train_an_epoch(Adversarial(), tmp_path)
        self.resume(Adversarial(), tmp_path, transport, steps=20)
        assert [frame.step for frame in transport.frames("generator")] == [8, 9]  # of 16 that it counted

    def train_an_epoch(self, module, tmp_path, *callbacks):
        module.on_train_epoch_end = lambda: module.trainer.save_checkpoint(tmp_path / "last")
        loop = trainer(*callbacks, steps=-1, max_epochs=1)
        loop.fit(module, batches())

    def resume(self, module, tmp_path, transport, steps):
        trainer(GradvitalsCallback(url=transport), steps=steps).fit(module, batches(), ckpt_path=tmp_path / "last")


class TestMistakes:
    def test_an_argument_that_nobody_takes_is_refused_at_once(self):
        with pytest.raises(gradvitals.ConfigurationError, match="max_norms is an argument of neither"):
            GradvitalsCallback(max_norms=1.0)
