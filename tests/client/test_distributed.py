"""What needs no second rank of measuring gradients that may be spread over several; the rest is in ``distributed/``."""

from __future__ import annotations

import subprocess
import sys

import torch

from gradvitals.distributed import is_sharded, local_tensors, sharded_norms


class TestWithoutShards:
    def test_the_norms_are_the_plain_ones(self):
        norms = sharded_norms([torch.tensor([3.0]), None, torch.tensor([-4.0])])
        assert (norms.layer_norms, norms.global_norm) == ([3.0, 0.0, 4.0], 5.0)

    def test_a_plain_tensor_is_its_own_local_part(self):
        gradient = torch.ones(2)
        assert local_tensors([gradient])[0] is gradient

    def test_a_parameter_is_not_sharded(self):
        assert not is_sharded(torch.nn.Parameter(torch.ones(2)))
        assert not is_sharded(None)

    def test_asking_does_not_import_dtensor(self):
        asking = """
import sys, torch
from gradvitals.distributed import is_sharded
assert not is_sharded(torch.nn.Parameter(torch.ones(2)))
assert "torch.distributed.tensor" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", asking], check=True, timeout=60)
