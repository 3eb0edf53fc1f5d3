"""No step waits for a device: shown without one, on tensors that have no data.

Whatever would wait, such as item(), float() or bool(), raises on torch's meta device. So a loop whose weights, learning
rate, loss scale and loss lie there can only be measured by what waits for nothing.
"""

from __future__ import annotations

import math

import pytest
import torch
from client.test_ring import SlowDevice
from torch import nn

import gradvitals
from gradvitals import ClipByLayerNorm, MemoryTransport
from gradvitals.clipping import choose_strategy

STEPS = 40
META = torch.device("meta")


class MetaDevice(SlowDevice):
    """A device whose copies land at once. A row has no data, so all of it is taken to be its sequence number."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps_up = True
        self.copied = 0

    def allocate(self, shape, dtype):
        return torch.empty(shape, dtype=dtype, device=META), torch.empty(shape, dtype=dtype)

    def copy(self, source, target, stream):
        numbers = torch.arange(self.copied, self.copied + len(source), dtype=source.dtype)
        self.copied += len(source)
        return super().copy(numbers[:, None].repeat(1, source.shape[1]), target, stream)


def halve(gradients, norms):
    for gradient in gradients:
        gradient.mul_(0.5)


def plain(parameters):
    return torch.optim.SGD(parameters, lr=0.1, foreach=True)


def with_a_tensor_as_learning_rate(parameters):
    optimizer = plain(parameters)
    optimizer.param_groups[0]["lr"] = torch.empty((), device=META)
    return optimizer


def fused(parameters):
    """What a fused optimizer looks like to us; its own kernel has no place on this device."""
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    optimizer.param_groups[0]["fused"] = True
    optimizer._step_supports_amp_scaling = True
    return optimizer


def fused_under_a_scaler(parameters):
    optimizer = fused(parameters)
    optimizer.grad_scale, optimizer.found_inf = torch.empty((), device=META), torch.empty((), device=META)
    return optimizer


HOW = {
    "observed": {},
    "by norm": {"max_norm": 1.0},
    "by the largest": {"max_norm": 1.0, "norm_type": math.inf},
    "by the 1-norm": {"max_norm": 1.0, "norm_type": 1.0},
    "by value": {"clip_value": 0.1},
    "each layer": {"strategy": ClipByLayerNorm(1.0)},
    "by a function": {"strategy": halve},
    "some, together": {"max_norm": 1.0, "group_by": "*", "include": "0.*"},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [plain, with_a_tensor_as_learning_rate, fused, fused_under_a_scaler])
@pytest.mark.parametrize("how", [*HOW.values(), {"max_norm": 1.0, "on_non_finite": "skip"}], ids=[*HOW, "or skipped"])
def test_nothing_is_read_from_the_device(how, make, dtype, monkeypatch, tmp_path):
    if how.get("on_non_finite") == "skip" and make in (plain, with_a_tensor_as_learning_rate):
        how = {**how, "on_non_finite": "keep"}  # a skip that is not fused must look at each norm first, as documented
    monkeypatch.setattr("gradvitals.recording.ring_device", lambda device: MetaDevice())
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))
    transport = MemoryTransport()
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))).to(META, dtype)
    with gradvitals.init(url=transport) as run:
        monitor = run.watch(model, make(model.parameters()), **how)
        told: list[str] = []
        monitor._tell = told.append
        for step in range(STEPS):
            for parameter in model.parameters():
                parameter.grad = torch.empty_like(parameter)
            if step == 5:
                model[0].bias.grad = None
            run.log(loss=torch.empty((), device=META))
            monitor._gradients_ready(0)  # as the hook does; the optimizer's own step is not ours
            monitor._stepped()
    assert [line for line in told if "% of the time" not in line] == []
    assert [frame.step for frame in transport.frames()] == list(range(STEPS))


def test_as_many_layers_as_there_are_take_one_kernel_of_each_kind(monkeypatch):
    """On a device torch's foreach kernels take their fast way only where the factor has the gradients' dtype."""
    multiplied: list[tuple[set[torch.dtype], torch.dtype]] = []
    multiply = torch._foreach_mul_

    def note(tensors, factor):
        multiplied.append(({tensor.dtype for tensor in tensors}, factor.dtype))
        multiply(tensors, factor)

    monkeypatch.setattr(torch, "_foreach_mul_", note)
    mixed = [torch.nn.Parameter(torch.empty(4, device=META, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32)]
    for parameter in mixed:
        parameter.grad = torch.empty_like(parameter)
    gradvitals.clip_grad_norm_(mixed, 1.0)
    assert multiplied == [({torch.bfloat16}, torch.bfloat16), ({torch.float32}, torch.float32)]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_torchs_own_clip_in_our_place_can_be_captured_in_a_graph(how, scaled):
    """While a graph is captured nothing may be read either: not the loss scale, and not by a function of the user's."""
    parameter = nn.Parameter(torch.empty(4, device=META))
    parameter.grad = torch.empty_like(parameter)
    strategy = choose_strategy(how.get("max_norm"), how.get("clip_value"), strategy=how.get("strategy"))
    strategy.clip_like_torch_([parameter], torch.empty((), device=META) if scaled else 1.0)
    assert parameter.grad.device == META
