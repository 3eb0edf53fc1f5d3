"""One launch of 4 ranks for all tests in this folder."""

from __future__ import annotations

import pytest
from client.distributed.torchrun import run_ranks


@pytest.fixture(scope="session")
def four_ranks(tmp_path_factory):
    """What each rank has found, by rank."""
    return run_ranks("on_four_ranks.py", 4, tmp_path_factory.mktemp("ranks"))
