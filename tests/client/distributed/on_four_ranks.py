"""For torchrun: everything that is tried on 4 ranks, in one launch."""

from __future__ import annotations

import faulthandler
from datetime import timedelta

import torch.distributed as dist
from client.distributed import norms_of_ranks, watched_ranks
from client.distributed.torchrun import save_findings
from torch.distributed.device_mesh import init_device_mesh


def main() -> None:
    faulthandler.dump_traceback_later(80, exit=True)  # says where a rank waits that the others have left
    dist.init_process_group("gloo", timeout=timedelta(seconds=30))
    rank = dist.get_rank()
    line = init_device_mesh("cpu", (4,), mesh_dim_names=("data",))
    square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    save_findings({"norms": norms_of_ranks.find(rank, line, square), "watched": watched_ranks.find(rank, line, square)})
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
