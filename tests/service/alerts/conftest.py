"""A receiver of alerts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from service.alerts.receiver import Receiver


@pytest.fixture
def make_receiver() -> Iterator[Callable[..., Receiver]]:
    """Start receivers that answer with the given statuses in turn."""
    with ExitStack() as stack:
        yield lambda *statuses: stack.enter_context(Receiver(statuses).running())
