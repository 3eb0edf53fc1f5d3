"""One small network, trained for one step by one rank or by four in each of the ways in which torch spreads it.

Its sizes do not divide by the number of ranks, so that shards are uneven and some of them empty.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

MAX_NORM = 0.1  # about a third of the global norm of this network
NORM_TYPES = (1.0, 2.0, 3.0, float("inf"))


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


def batch() -> Tensor:
    return torch.randn(8, 4, 7, generator=torch.Generator().manual_seed(1))


def backward(model: nn.Module, tokens: Tensor) -> nn.Module:
    (3 * model(tokens)).square().mean().backward()
    return model


def on_one_rank() -> Network:
    return backward(Network(), batch())


def data_parallel(rank: int) -> nn.Module:
    return backward(DistributedDataParallel(Network()), batch()[2 * rank : 2 * rank + 2])


def fully_sharded(mesh: DeviceMesh, place: int) -> nn.Module:
    """FSDP2, or HSDP on a mesh of two dimensions; each place in the mesh has its own part of the batch."""
    model = Network()
    for layer in (model.up, model.down):
        fully_shard(layer, mesh=mesh)
    size = 8 // mesh.size()
    return backward(fully_shard(model, mesh=mesh), batch()[size * place : size * place + size])


def tensor_parallel(mesh: DeviceMesh) -> nn.Module:
    """The two large layers are split; the others stay plain, the same on every rank."""
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    return backward(parallelize_module(Network(), mesh, plan), batch())


def sequence_parallel(mesh: DeviceMesh) -> nn.Module:
    """Every layer is a DTensor, and each rank normalizes two of the four tokens."""
    rank = mesh.get_local_rank()
    return backward(_split_by_sequence(mesh), batch()[:, 2 * rank : 2 * rank + 2])


def fully_sharded_tensor_parallel(data: DeviceMesh, tensor: DeviceMesh, *, everything: bool) -> nn.Module:
    """Tensor parallel inside, FSDP2 around it; with ``everything`` each layer is split in both ways."""
    tokens = batch()[4 * data.get_local_rank() :][:4]
    if everything:
        rank = tensor.get_local_rank()
        return backward(fully_shard(_split_by_sequence(tensor), mesh=data), tokens[:, 2 * rank : 2 * rank + 2])
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    return backward(fully_shard(parallelize_module(Network(), tensor, plan), mesh=data), tokens)


def _split_by_sequence(mesh: DeviceMesh) -> nn.Module:
    plan = {
        "norm": SequenceParallel(),
        "up": ColwiseParallel(input_layouts=Shard(1)),
        "down": RowwiseParallel(),
        "head": ColwiseParallel(output_layouts=Replicate()),
    }
    return parallelize_module(Network(), mesh, plan)
