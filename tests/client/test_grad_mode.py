"""Whatever a step comes to, autograd is afterwards as it was: what is computed next has a gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradvitals.errors import NonFiniteGradientError
from gradvitals.monitor import Monitor


class Nowhere:
    def submit(self, monitor, frame):
        """Frames are not looked at here."""


class TwoDtypes(nn.Module):
    """Layers that are not measured in the short way, which knows one dtype."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 1, dtype=torch.float64)

    def forward(self, values):
        return self.second(self.first(values).double()).sum()


def one_dtype():
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1), nn.Flatten(0))


@pytest.fixture(params=[one_dtype, TwoDtypes], ids=["one dtype", "two dtypes"])
def model(request):
    return request.param()


def step(model, scaler=None, bad=False, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Monitor(model, optimizer, sink=Nowhere(), scaler=scaler, **options)
    loss = model(torch.ones(1, 2)).sum()
    (loss if scaler is None else scaler.scale(loss)).backward()
    if bad:
        next(model.parameters()).grad.view(-1)[0] = math.inf
    (optimizer.step if scaler is None else lambda: scaler.step(optimizer))()


def test_after_a_step(model):
    step(model)
    assert torch.is_grad_enabled()


def test_after_a_clipped_step(model):
    step(model, max_norm=1e-3)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("on_non_finite", ["keep", "skip"])
def test_after_a_bad_step(on_non_finite, model):
    step(model, bad=True, on_non_finite=on_non_finite, max_norm=1e-3)
    assert torch.is_grad_enabled()


def test_after_a_step_that_was_ended(model):
    with pytest.raises(NonFiniteGradientError):
        step(model, bad=True, on_non_finite="raise")
    assert torch.is_grad_enabled()


def test_after_a_step_that_a_scaler_skipped(model):
    step(model, bad=True, scaler=torch.amp.GradScaler("cpu"))
    assert torch.is_grad_enabled()
