"""Small frames and senders for the client's tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from gradvitals.announce import Announcer
from gradvitals.declarations import Attempt, RunDeclaration, WatchedFacts
from gradvitals.frames import FLAG_NON_FINITE, Frame, Layer, Layout
from gradvitals.pending import PendingFrames
from gradvitals.route import FixedRoute, Route
from gradvitals.sender import Sender
from gradvitals.transport import Transport

RUN_ID = "0199a3c2-7d10-7abc-8def-000000000001"
ATTEMPT_ID = "0199a3c2-7d10-7abc-8def-000000000002"
LAYOUT = Layout(
    (
        Layer("weight", "linear", (2, 2), 4, "float32", 0, True),
        Layer("bias", "linear", (2,), 2, "float32", 0, True),
    )
)
OTHER_LAYOUT = Layout((Layer("weight", "conv", (3,), 3, "float32", 0, True),))


def frame(step: int, *, global_norm: float = 5.0, layout: Layout = LAYOUT) -> Frame:
    """A frame whose layers have the norms 3 and 4, clipped to a fifth."""
    return Frame(
        step=step,
        time=1790000000.0 + step,
        global_norm=global_norm,
        clip_coefficient=0.2,
        max_norm=1.0,
        lr=0.1,
        layout=layout,
        layer_norms=np.array([3.0, 4.0][: len(layout.layers)], dtype=np.float32),
        flags=0 if np.isfinite(global_norm) else FLAG_NON_FINITE,
    )


def parameter_with_gradient(*elements: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(len(elements)))
    parameter.grad = torch.tensor(elements)
    return parameter


def gradients_of(parameters: Iterable[nn.Parameter], copies: bool = True) -> list[torch.Tensor]:
    held = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return [gradient.clone() for gradient in held] if copies else held


def assert_same_gradients(ours: Iterable[nn.Parameter], torchs: Iterable[nn.Parameter]) -> None:
    """Bit for bit, NaN included."""
    for mine, theirs in zip(gradients_of(ours), gradients_of(torchs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


def declaration() -> RunDeclaration:
    return RunDeclaration(RUN_ID, "tests", "a run", "ada", None, (), {}, {}, {})


def attempt() -> Attempt:
    return Attempt(
        ATTEMPT_ID, rank=0, world_size=1, launch=RUN_ID, host="here", pid=1, started_at=1790000000.0,
        resumed_from_step=None, interactive=False, monitors={"main": WatchedFacts("SGD", 2.0, None, 1.0)},
    )  # fmt: skip


def store(**options: int) -> PendingFrames:
    def never(name: str, fault: Exception) -> None:
        raise AssertionError(f"{name} could not be read") from fault

    return PendingFrames(ATTEMPT_ID, on_unreadable=never, **options)


@contextmanager
def running_sender(
    destination: Transport | Route, *, frames: PendingFrames | None = None, announcer: Announcer | None = None
) -> Iterator[Sender]:
    """A sender for the time of a test, which is closed without waiting for what it cannot deliver."""
    route = destination if hasattr(destination, "current") else FixedRoute(destination)
    sender = Sender(declaration(), attempt(), frames or store(), route, announcer or Announcer(enabled=False))
    sender.start()
    try:
        yield sender
    finally:
        sender.close(0.5)
