"""Start a script on several ranks of this machine, as torchrun does, and read what each rank has found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).parents[2]
SECONDS = 100  # a few are enough; more only where the machine has other work


def run_ranks(script: str, ranks: int, folder: Path) -> None:
    """Have ``script`` leave its findings in ``folder``."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"),
            *(str(Path(__file__).parent / script), str(folder)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = f"after {SECONDS} s the ranks were still waiting\n" + process.communicate()[0]
    assert process.returncode == 0, f"{script} on {ranks} ranks failed:\n{output[-6000:]}"


def read_findings(ranks: int, folder: Path) -> list[dict[str, Any]]:
    """What each rank handed to ``save_findings``, by rank."""
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(ranks)]


def save_findings(findings: dict[str, Any]) -> None:
    """For a script: hand over what this rank has found."""
    torch.save(findings, Path(sys.argv[1]) / f"{os.environ['RANK']}.pt")
