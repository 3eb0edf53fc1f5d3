"""One launch of 4 ranks for all tests in this folder."""

from __future__ import annotations

import fcntl
import os

import pytest
from client.distributed.torchrun import read_findings, run_ranks

RANKS = 4


@pytest.fixture(scope="session")
def four_ranks(tmp_path_factory):
    """What each rank has found, by rank. The first of pytest's processes that asks starts them, for all."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "ranks"
    with (shared / "ranks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = tmp_path_factory.mktemp("ranks")
            run_ranks("on_four_ranks.py", RANKS, partial)
            partial.rename(folder)
    return read_findings(RANKS, folder)
