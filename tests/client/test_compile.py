"""Under torch.compile a watched step breaks into no more graphs than a bare one, and is clipped as by torch's clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from gradvitals import MemoryTransport, init

# The compiler of torch 2.13 warns of what it does itself: it uses torch.jit, and looks at the loss of a closure.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

MAX_NORM = 0.1
STEPS = 4
BATCH = torch.ones(3, 4)

Step = Callable[[], None]


class Training:
    """A small network and its optimizer, of which some part is compiled."""

    def __init__(self, *, fused: bool) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        parameters = self.model.parameters()
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(parameters, lr=0.1, fused=True) if fused else torch.optim.SGD(parameters, lr=0.1)
        )

    def step_of(self, part: str) -> Step:
        """One training step. Graphs are not generated, since only where they break is asked."""
        model: Callable[[torch.Tensor], torch.Tensor] = self.model
        step = self.optimizer.step
        if part == "model":
            model = torch.compile(self.model, backend="eager")
        if part == "optimizer":
            step = torch.compile(lambda: self.optimizer.step(), backend="eager")

        def whole() -> None:
            self.optimizer.zero_grad()
            model(BATCH).square().mean().backward()
            step()

        def with_closure(closure: Callable[[], torch.Tensor]) -> None:
            self.optimizer.step(closure)

        compiled = torch.compile(with_closure, backend="eager")

        def evaluate() -> torch.Tensor:
            self.optimizer.zero_grad()
            loss = self.model(BATCH).square().mean()
            loss.backward()
            return loss

        if part == "step with a closure":
            return lambda: compiled(evaluate)
        if part == "step with a new closure each time":
            return lambda: compiled(lambda: evaluate())
        return torch.compile(whole, backend="eager") if part == "step" else whole

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def breaks_of(step: Step) -> int:
    """The graph breaks that ``STEPS`` steps meet, compiled afresh."""
    torch._dynamo.reset()
    counters.clear()
    for _ in range(STEPS):
        step()
    return sum(counters["graph_break"].values())


@pytest.fixture(autouse=True)
def _nothing_compiled_is_left() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("fused", [False, True], ids=["SGD", "fused AdamW"])
@pytest.mark.parametrize(
    "part", ["model", "optimizer", "step", "step with a closure", "step with a new closure each time"]
)
class TestCompiled:
    def test_no_graph_break_is_added(self, part, fused):
        bare, watched = Training(fused=fused), Training(fused=fused)
        run = init(url=MemoryTransport())
        monitor = run.watch(watched.model, watched.optimizer, max_norm=MAX_NORM)
        expected = breaks_of(bare.step_of(part))
        assert breaks_of(watched.step_of(part)) == expected
        assert monitor.step == STEPS  # what is compiled is measured
        run.finish()

    def test_a_limit_that_bites_on_some_steps_only_has_nothing_compiled_again(self, part, fused):
        bare, watched = Training(fused=fused), Training(fused=fused)
        expected = breaks_of(bare.step_of(part)), counters["stats"]["unique_graphs"]
        run = init(url=MemoryTransport())
        monitor = run.watch(watched.model, watched.optimizer, max_norm=MAX_NORM)
        step = watched.step_of(part)

        def with_another_limit() -> None:
            monitor.max_norm = MAX_NORM if monitor.step % 2 else None
            step()

        assert (breaks_of(with_another_limit), counters["stats"]["unique_graphs"]) == expected
        run.finish()

    def test_the_step_is_clipped_as_torchs_clip_would(self, part, fused):
        watched, torchs = Training(fused=fused), Training(fused=fused)
        transport = MemoryTransport()
        run = init(url=transport)
        run.watch(watched.model, watched.optimizer, max_norm=MAX_NORM)
        breaks_of(watched.step_of(part))
        run.finish()
        for _ in range(STEPS):
            torchs.optimizer.zero_grad()
            torchs.model(BATCH).square().mean().backward()
            nn.utils.clip_grad_norm_(torchs.model.parameters(), MAX_NORM)
            torchs.optimizer.step()
        for ours, theirs in zip(watched.weights(), torchs.weights(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
        assert [frame.step for frame in transport.frames()] == list(range(STEPS))
        assert transport.frames()[0].clip_coefficient < 1.0
