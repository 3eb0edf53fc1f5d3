"""The loss curve is that of torch's own clip: bit for bit where the clip is a multiplication, as it is in torch.

Layers of up to 16,384 elements have torch's own norm. A fused optimizer divides instead of multiplying, within 1e-6.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from client.looping import Collector
from torch import nn

from gradvitals.monitor import Monitor

STEPS = 8
Clip = Callable[[list[nn.Parameter]], object]

OPTIMIZERS = {
    "SGD with momentum": lambda groups, **form: torch.optim.SGD(groups, lr=0.001, momentum=0.9, **form),
    "Adam": lambda groups, **form: torch.optim.Adam(groups, lr=0.01, **form),
    "AdamW": lambda groups, **form: torch.optim.AdamW(groups, lr=0.01, **form),
    "Adagrad": lambda groups, **form: torch.optim.Adagrad(groups, lr=0.05, **form),
}
EVERY_OPTIMIZER = pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in OPTIMIZERS.items()])
# Of these steps a limit clips all, every other one, or none: every other loss weighs a hundred times as much.
LIMITS = {"all": (0.01, STEPS), "half": (15.0, STEPS // 2), "none": (1e6, 0)}
EVERY_LIMIT = pytest.mark.parametrize(("max_norm", "clipped"), LIMITS.values(), ids=LIMITS)


class Recurrent(nn.Module):
    """Predicts the next of a few letters, with a layer that is large enough to be measured alone."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(12, 16)
        self.gru = nn.GRU(16, 40)  # weight_hh has 4,800 elements
        self.head = nn.Linear(40, 12)

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.gru(self.letters(batch[:-1]))
        return nn.functional.cross_entropy(self.head(hidden).flatten(0, 1).float(), batch[1:].flatten())


class Deep(nn.Module):
    """Ten equal layers, which are measured together."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(12, 16)
        self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(10)])
        self.head = nn.Linear(16, 12)

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        hidden = self.letters(batch[:-1])
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
        return nn.functional.cross_entropy(self.head(hidden).flatten(0, 1).float(), batch[1:].flatten())


class ChannelsLast(nn.Module):
    """Ten equal convolutions, whose weights and gradients lie in memory in another order than they are numbered."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(12, 16)
        self.layers = nn.ModuleList([nn.Conv2d(16, 16, (1, 3), padding=(0, 1)) for _ in range(10)])
        self.head = nn.Linear(16, 12)
        self.to(memory_format=torch.channels_last)

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        hidden = self.letters(batch[:-1]).permute(1, 2, 0)[:, :, None]
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
        scores = self.head(hidden[:, :, 0].permute(2, 0, 1))
        return nn.functional.cross_entropy(scores.flatten(0, 1).float(), batch[1:].flatten())


def batches() -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    while True:
        yield torch.randint(12, (6, 4), generator=generator)


class Training:
    """A training that clips by torch's own function, or by a monitor."""

    def __init__(self, kind: type[nn.Module], make, clip: Clip | None = None, *, groups: bool = False, **watch) -> None:
        torch.manual_seed(0)
        self.model = kind()
        self.clip = clip or (lambda parameters: None)
        given = [{"params": [p]} for p in self.model.parameters()] if groups else self.model.parameters()
        self.optimizer = make(given)
        self.sink = Collector()
        if clip is None:
            Monitor(self.model, self.optimizer, sink=self.sink, **watch)

    @property
    def parameters(self) -> list[torch.Tensor]:
        return [parameter.detach() for parameter in self.model.parameters()]

    def train(self, steps: int = STEPS, *, closure=False, accumulate=1, autocast=False) -> list[torch.Tensor]:
        """The losses, the parameters and the state of the random numbers at the end."""
        precision = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
        losses, coming = [], batches()

        def evaluate() -> torch.Tensor:
            self.optimizer.zero_grad()
            for batch in itertools.islice(coming, accumulate):
                with precision:
                    loss = self.model.loss(batch) / accumulate
                (loss * weight).backward()
                losses.append(loss.detach())
            self.clip(list(self.model.parameters()))
            return loss

        for step in range(steps):
            weight = 100.0 ** (step % 2)
            if closure:
                self.optimizer.step(evaluate)
            else:
                evaluate()
                self.optimizer.step()
        return [*losses, *self.parameters, torch.get_rng_state()]

    @property
    def clipped(self) -> int:
        return sum(frame.clip_coefficient < 1.0 for frame in self.sink.frames)


def by_torch(max_norm: float) -> Clip:
    return lambda parameters: nn.utils.clip_grad_norm_(parameters, max_norm)


def assert_same(ours: list[torch.Tensor], torchs: list[torch.Tensor]) -> None:
    assert all(map(torch.equal, ours, torchs))


class TestBitForBit:
    @pytest.mark.parametrize(
        ("kind", "form"),
        [(Recurrent, {"foreach": True}), (Deep, {"foreach": False}), (ChannelsLast, {"foreach": True})],
        ids=["foreach", "loop", "channels last"],
    )
    @EVERY_OPTIMIZER
    @EVERY_LIMIT
    def test_for_every_optimizer_and_limit(self, make, kind, form, max_norm, clipped):
        torchs = Training(kind, lambda groups: make(groups, **form), by_torch(max_norm))
        ours = Training(kind, lambda groups: make(groups, **form), max_norm=max_norm)
        assert_same(ours.train(), torchs.train())
        assert ours.clipped == clipped

    @pytest.mark.parametrize("how", [{"closure": True}, {"accumulate": 3}, {"autocast": True}], ids=str)
    @EVERY_LIMIT
    def test_however_the_loop_steps(self, how, max_norm, clipped):
        make = OPTIMIZERS["AdamW"]
        ours, torchs = Training(Recurrent, make, max_norm=max_norm), Training(Recurrent, make, by_torch(max_norm))
        assert_same(ours.train(**how), torchs.train(**how))
        assert ours.clipped == clipped

    def test_with_parameter_groups_in_another_order_of_layers(self):
        def backwards(groups):
            return torch.optim.AdamW(list(groups)[::-1], lr=0.01)

        ours = Training(Recurrent, backwards, groups=True, max_norm=15.0)
        torchs = Training(Recurrent, backwards, by_torch(15.0), groups=True)
        assert_same(ours.train(), torchs.train())
        assert ours.clipped == STEPS // 2

    @pytest.mark.parametrize("hook", [True, False])
    def test_with_and_without_a_hook(self, hook):
        torchs = Training(Recurrent, OPTIMIZERS["Adam"], by_torch(15.0))
        ours = Training(Recurrent, OPTIMIZERS["Adam"], lambda parameters: None)
        monitor = Monitor(ours.model, ours.optimizer, sink=ours.sink, max_norm=15.0, hook=hook)
        if not hook:
            ours.clip = lambda parameters: monitor.clip_()
        assert_same(ours.train(), torchs.train())
        assert ours.clipped == STEPS // 2

    @pytest.mark.parametrize("make", [OPTIMIZERS["Adam"], lambda groups: OPTIMIZERS["Adam"](groups, fused=True)])
    @pytest.mark.parametrize("clip_value", [0.001, 0.5, 1e6])
    def test_where_elements_are_limited(self, make, clip_value):
        torchs = Training(Recurrent, make, lambda parameters: nn.utils.clip_grad_value_(parameters, clip_value))
        ours = Training(Recurrent, make, clip_value=clip_value)
        assert_same(ours.train(), torchs.train())
        assert (ours.clipped > 0) == (clip_value < 1)

    @pytest.mark.parametrize(
        "options", [{}, {"on_non_finite": "skip"}, {"max_norm": 1e6}, {"group_by": "gru"}], ids=str
    )
    @EVERY_OPTIMIZER
    def test_where_nothing_is_clipped_also_in_fused_steps(self, make, options):
        plain = Training(Recurrent, lambda groups: make(groups, fused=True), lambda parameters: None)
        ours = Training(Recurrent, lambda groups: make(groups, fused=True), **options)
        assert_same(ours.train(), plain.train())

    def test_and_a_clip_is_seen_where_there_is_one(self):
        plain = Training(Recurrent, OPTIMIZERS["Adam"], lambda parameters: None).train()
        clipped = Training(Recurrent, OPTIMIZERS["Adam"], max_norm=15.0).train()
        assert torch.equal(plain[1], clipped[1])  # whose gradient is the first that is clipped
        assert not torch.equal(plain[3], clipped[3])


class TestFused:
    @pytest.mark.parametrize("kind", [Recurrent, Deep])
    @EVERY_OPTIMIZER
    def test_a_step_ends_within_a_millionth_of_torchs(self, make, kind):
        ours = Training(kind, lambda groups: make(groups, fused=True), max_norm=0.01)
        torchs = Training(kind, lambda groups: make(groups, fused=True), by_torch(0.01))
        for _ in range(STEPS):
            ours.model.load_state_dict(torchs.model.state_dict())
            ours.optimizer.load_state_dict(copy.deepcopy(torchs.optimizer.state_dict()))
            ours.train(1)
            torchs.train(1)
            for mine, theirs in zip(ours.parameters, torchs.parameters, strict=True):
                assert (mine - theirs).norm() <= 1e-6 * theirs.norm()
        assert ours.clipped == STEPS

    @pytest.mark.parametrize("max_norm", [2.0**-2, 2.0**-5])
    def test_a_norm_and_limit_whose_quotient_is_a_power_of_two_make_it_torchs_bits(self, max_norm):
        # The one rounding there is besides is the 1e-6 that torch adds to the norm.
        gradient = torch.zeros(4)
        gradient[0] = 2.0**60
        results = []
        for fused in (True, False):
            weight = nn.Parameter(torch.arange(4.0))
            model = nn.ParameterList([weight])
            optimizer = torch.optim.SGD([weight], lr=0.5, fused=fused)
            Monitor(model, optimizer, sink=Collector(), max_norm=max_norm)
            weight.grad = gradient.clone()
            optimizer.step()
            results.append((weight.tolist(), weight.grad.tolist()))
        assert results[0] == results[1]


def test_weights_of_bfloat16_are_torchs_to_the_rounding_of_their_norm():
    # Torch rounds each layer's norm to bfloat16, which has 8 bits; ours has the bits of single precision.
    def half() -> nn.Module:
        return Recurrent().bfloat16()

    torchs, ours = (
        Training(half, OPTIMIZERS["AdamW"], by_torch(15.0)),
        Training(half, OPTIMIZERS["AdamW"], max_norm=15.0),
    )
    theirs, mine = (torch.stack(training.train()[:STEPS]) for training in (torchs, ours))
    torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=0)
    assert ours.clipped == STEPS // 2
