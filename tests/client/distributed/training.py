"""One small network and its batches, on one rank or on four in each of the ways in which torch spreads a training.

Its sizes do not divide by the number of ranks, so that shards are uneven and some of them empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

MAX_NORM = 0.1  # about a third of the global norm of this network
NORM_TYPES = (1.0, 2.0, 3.0, float("inf"))
WAYS = ["fsdp 4", "fsdp 2", "hsdp", "tp", "sequence parallel", "fsdp x tp", "fsdp x tp, some", "ddp"]
COLLECTIVES = {  # that torch's own clip enters
    "ddp": 0,  # the gradients are the same on all ranks already
    "fsdp 4": 1,
    "fsdp 2": 1,
    "hsdp": 1,  # replicas need none
    "sequence parallel": 3,  # two gradients are still to be added up over the ranks
    "fsdp x tp": 2,
}


class Network(nn.Module):
    """Rows of 4 tokens with 7 features to rows of 4 tokens with 3."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.LayerNorm(7)
        self.up = nn.Linear(7, 10)
        self.down = nn.Linear(10, 6)
        self.head = nn.Linear(6, 3, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.down(torch.relu(self.up(self.norm(tokens))))))


@dataclass
class Training:
    """A network as this rank holds it, and the part of each batch that this rank is given."""

    model: nn.Module
    part_of: Callable[[Tensor], Tensor]

    def backward(self, step: int = 0, scale: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
        batch = torch.randn(8, 4, 7, generator=torch.Generator().manual_seed(1 + step))
        scale((3 * self.model(self.part_of(batch))).square().mean()).backward()


def alone() -> Training:
    return Training(Network(), lambda batch: batch)


def data_parallel(rank: int) -> Training:
    return Training(DistributedDataParallel(Network()), lambda batch: batch[2 * rank : 2 * rank + 2])


def fully_sharded(mesh: DeviceMesh, place: int) -> Training:
    """FSDP2, or HSDP on a mesh of two dimensions; each place in the mesh has its own rows of the batch."""
    model = Network()
    for layer in (model.up, model.down):
        fully_shard(layer, mesh=mesh)
    size = 8 // mesh.size()
    return Training(fully_shard(model, mesh=mesh), lambda batch: batch[size * place : size * place + size])


def tensor_parallel(mesh: DeviceMesh) -> Training:
    """The two large layers are split; the others stay plain, the same on every rank."""
    return Training(_with_split_middle(mesh), lambda batch: batch)


def sequence_parallel(mesh: DeviceMesh) -> Training:
    """Every layer is a DTensor, and each rank normalizes two of the four tokens."""
    return Training(_split_by_sequence(mesh), lambda batch: _tokens(batch, mesh))


def fully_sharded_tensor_parallel(data: DeviceMesh, tensor: DeviceMesh) -> Training:
    """FSDP2 around it, and inside every layer split once more."""
    model = fully_shard(_split_by_sequence(tensor), mesh=data)
    return Training(model, lambda batch: _tokens(_rows(batch, data), tensor))


def partly_tensor_parallel(data: DeviceMesh, tensor: DeviceMesh) -> Training:
    """FSDP2 around it, and inside only the two large layers split once more: two meshes."""
    return Training(fully_shard(_with_split_middle(tensor), mesh=data), lambda batch: _rows(batch, data))


def ways(rank: int, line: DeviceMesh, square: DeviceMesh) -> dict[str, Callable[[], Training]]:
    """Every way on 4 ranks; ``line`` is a mesh of 4, ``square`` one of 2 x 2."""
    data, tensor = square["data"], square["tensor"]
    return {
        "ddp": lambda: data_parallel(rank),
        "fsdp 4": lambda: fully_sharded(line, rank),
        "fsdp 2": lambda: fully_sharded(tensor, rank % 2),
        "hsdp": lambda: fully_sharded(square, rank),
        "tp": lambda: tensor_parallel(tensor),
        "sequence parallel": lambda: sequence_parallel(tensor),
        "fsdp x tp": lambda: fully_sharded_tensor_parallel(data, tensor),
        "fsdp x tp, some": lambda: partly_tensor_parallel(data, tensor),
    }


def _with_split_middle(mesh: DeviceMesh) -> nn.Module:
    return parallelize_module(Network(), mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})


def _split_by_sequence(mesh: DeviceMesh) -> nn.Module:
    plan = {
        "norm": SequenceParallel(),
        "up": ColwiseParallel(input_layouts=Shard(1)),
        "down": RowwiseParallel(),
        "head": ColwiseParallel(output_layouts=Replicate()),
    }
    return parallelize_module(Network(), mesh, plan)


def _rows(batch: Tensor, mesh: DeviceMesh) -> Tensor:
    return batch.chunk(mesh.size())[mesh.get_local_rank()]


def _tokens(batch: Tensor, mesh: DeviceMesh) -> Tensor:
    return batch.chunk(mesh.size(), dim=1)[mesh.get_local_rank()]
