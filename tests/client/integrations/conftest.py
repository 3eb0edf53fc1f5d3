"""The frameworks stay by themselves: no hub, no telemetry, no accelerator, nothing kept from one test to the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}  # read at import

from accelerate.state import AcceleratorState, GradientState, PartialState

from gradvitals import MemoryTransport


class StateTransport(MemoryTransport):
    """Says when the run was declared paused, which is short and may never be the newest state that anybody sees."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = threading.Event()

    def declare_attempt(self, run_id, attempt_id, body):
        if body["state"] == "paused":
            self.paused.set()
        return super().declare_attempt(run_id, attempt_id, body)

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        """How each attempt ended, or that it has not: its state, and the exception's name."""
        return [(body["state"], body.get("exception")) for body in self.attempts.values()]


@pytest.fixture
def transport() -> StateTransport:
    return StateTransport()


@pytest.fixture(autouse=True)
def _no_state_of_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()
    GradientState._reset_state()
    PartialState._reset_state()
