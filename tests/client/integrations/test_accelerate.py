"""A loop with Accelerate needs no integration: ``watch`` looks through the optimizer that ``prepare`` returns."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gradvitals
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP


def batches() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(32, 3, generator=generator), 5 * torch.randn(32, 1, generator=generator)
    return DataLoader(TensorDataset(inputs, targets), batch_size=4)


class Training:
    """Eight batches with Accelerate; clipped by Accelerate, or by us where there is a run."""

    def __init__(self, run: gradvitals.Run | None = None, *, watch_first: bool = False, **options) -> None:
        torch.manual_seed(0)
        accelerator = Accelerator(cpu=True, **options)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=16)
        if run is not None and watch_first:
            run.watch(model, optimizer, max_norm=1.0, scaler=accelerator.scaler)
        model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, batches(), scheduler)
        if run is not None and not watch_first:
            run.watch(model, optimizer, max_norm=1.0, scaler=accelerator.scaler)
        self.losses: list[float] = []
        self.norms: list[float] = []
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.mse_loss(model(inputs), targets)
                self.losses.append(loss.item())
                accelerator.backward(loss)
                if run is not None:
                    run.log(loss=loss)
                elif accelerator.sync_gradients:
                    self.norms.append(accelerator.clip_grad_norm_(model.parameters(), 1.0).item())
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()


HOW = {"": {}, "over two batches a step": {"gradient_accumulation_steps": 2}, "in bf16": {"mixed_precision": "bf16"}}


@pytest.mark.parametrize("options", HOW.values(), ids=HOW)
class TestClippingInItsPlace:
    @pytest.mark.parametrize("watch_first", [False, True], ids=["watched after prepare", "watched before"])
    def test_the_loss_curve_is_that_of_accelerates_own_clip(self, transport, options, watch_first):
        theirs = Training(**options)
        with gradvitals.init(url=transport) as run:
            ours = Training(run, watch_first=watch_first, **options)
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)

    def test_a_frame_holds_the_norm_that_accelerate_returns(self, transport, options):
        theirs = Training(**options)
        with gradvitals.init(url=transport) as run:
            Training(run, **options)
        assert [frame.global_norm for frame in transport.frames()] == pytest.approx(theirs.norms, rel=1e-6)


def test_a_step_has_the_mean_loss_of_its_batches(transport):
    with gradvitals.init(url=transport) as run:
        losses = Training(run, gradient_accumulation_steps=2).losses
    means = [(first + second) / 2 for first, second in zip(losses[::2], losses[1::2], strict=True)]
    assert [frame.loss for frame in transport.frames()] == pytest.approx(means)


class TestFp16:
    """``Accelerator(mixed_precision="fp16")`` wants a GPU. The optimizer that it makes there works here too."""

    def step(self, run: gradvitals.Run, init_scale: float, *, fused: bool) -> AcceleratedOptimizer:
        """One step whose gradient is 5 without the loss scale."""
        Accelerator(cpu=True)  # the optimizer asks for its state
        scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
        model = nn.Linear(1, 1, bias=False)
        optimizer = AcceleratedOptimizer(torch.optim.SGD(model.parameters(), 1.0, fused=fused), scaler=scaler)
        run.watch(model, optimizer, max_norm=1.0, scaler=scaler)
        before = model.weight.item()
        scaler.scale(5 * model.weight.sum()).backward()
        optimizer.step()
        self.moved = before - model.weight.item()
        return optimizer

    @pytest.mark.parametrize("fused", [False, True])
    def test_the_norm_is_the_one_without_the_loss_scale(self, transport, fused):
        with gradvitals.init(url=transport) as run:
            optimizer = self.step(run, 1024.0, fused=fused)
        (frame,) = transport.frames()
        assert frame.global_norm == 5.0
        assert frame.loss_scale == 1024.0
        assert self.moved == pytest.approx(1.0, abs=1e-5)  # by the clipped gradient
        assert not optimizer.step_was_skipped

    def test_a_skipped_step_is_a_flagged_frame_and_accelerate_knows_of_it_too(self, transport):
        with gradvitals.init(url=transport) as run:
            optimizer = self.step(run, 1e38, fused=False)
        (frame,) = transport.frames()
        assert frame.flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP
        assert self.moved == 0.0
        assert optimizer.step_was_skipped
