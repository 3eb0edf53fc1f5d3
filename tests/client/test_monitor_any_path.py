"""Whatever gradients come in whatever order, weights are those of a loop that clips by torch's own function."""

from __future__ import annotations

import math

import pytest
import torch
from client.looping import Loop
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP

LAYERS = 10
# Of a magnitude whose squares single precision holds: beyond it torch's own norm is infinite, and ours is not.
usual = st.floats(-(2.0**40), 2.0**40, width=32)
finite = st.one_of(st.none(), usual, usual, st.just(0.0))
any_value = st.one_of(finite, finite, finite, st.sampled_from([math.nan, math.inf, -math.inf]))


def one_each(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(values, min_size=LAYERS, max_size=LAYERS)


limits = st.sampled_from([None, 1e-3, 1.0, 1e4, 2.0**45])
steps = st.tuples(st.one_of(one_each(finite), one_each(finite), one_each(any_value)), st.booleans(), limits)
paths = st.lists(steps, min_size=1, max_size=6)


class Layers(nn.Module):
    """Layers of two shapes: ten small ones, of which the last is larger than the others."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(2, 3)] * (LAYERS - 1) + [(5000,)]
        self.layers = nn.ParameterList([nn.Parameter(torch.full(size, 0.5)) for size in sizes])

    def set_gradients(self, values: list[float | None]) -> None:
        for weight, value in zip(self.layers, values, strict=True):
            weight.grad = None if value is None else torch.full_like(weight, value)

    def norm(self) -> torch.Tensor:
        return nn.utils.get_total_norm([weight.grad for weight in self.layers if weight.grad is not None])


def momentum(parameters) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def same(ours: nn.Module, torchs: nn.Module) -> bool:
    """Bit for bit, NaN included."""
    return all(
        torch.equal(mine.isnan(), theirs.isnan()) and torch.equal(mine.nan_to_num(), theirs.nan_to_num())
        for mine, theirs in zip(ours.parameters(), torchs.parameters(), strict=True)
    )


@pytest.mark.parametrize("policy", ["keep", "skip"])
@settings(max_examples=60, deadline=None)
@given(path=paths)
def test_any_path_is_torchs(policy, path):
    loop, torchs = Loop(momentum, model=Layers(), on_non_finite=policy), Layers()
    optimizer = momentum(torchs.parameters())
    for values, in_closure, limit in path:
        loop.monitor.max_norm = limit
        if in_closure:
            loop.optimizer.step(lambda values=values: loop.model.set_gradients(values))
        else:
            loop.model.set_gradients(values)
            loop.optimizer.step()
        torchs.set_gradients(values)
        norm = torchs.norm()
        finite = bool(norm.isfinite())
        if limit is not None and (finite or policy == "keep"):
            nn.utils.clip_grad_norm_(torchs.parameters(), limit)
        if finite or policy == "keep":
            optimizer.step()
        assert same(loop.model, torchs)
        assert loop.frame.global_norm == pytest.approx(norm.item(), rel=1e-6, nan_ok=True)
        skipped = FLAG_SKIPPED_STEP if policy == "skip" else 0
        assert loop.frame.flags == (0 if finite else FLAG_NON_FINITE | skipped)
        assert loop.frame.layer_norms.tolist() == pytest.approx(
            [abs(value or 0.0) * weight.numel() ** 0.5 for value, weight in zip(values, torchs.layers, strict=True)],
            rel=2e-5,  # equal elements, of which the last layer has 5,000
            nan_ok=True,
        )
    assert [frame.step for frame in loop.frames] == list(range(len(path)))
    assert not [line for line in loop.told if "could not" in line or "COULD NOT" in line]
