"""Bring a step's measurements from their device to the host, all at once.

The one place that waits for a device, once a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def read_together(*values: Tensor | float) -> list[npt.NDArray[Any]]:
    """The values on the host, each as a vector. Several on a device are one copy from it."""
    tensors = [value.detach().reshape(-1) for value in values if isinstance(value, Tensor)]
    elsewhere = [tensor.device for tensor in tensors if not tensor.is_cpu]
    if elsewhere:
        dtype = torch.float32 if elsewhere[0].type == "mps" else torch.float64
        together = torch.cat([tensor.to(elsewhere[0], dtype) for tensor in tensors]).cpu()
        tensors = list(torch.split(together, [tensor.numel() for tensor in tensors]))
    pieces = iter(tensors)
    return [next(pieces).numpy() if isinstance(value, Tensor) else np.array([value]) for value in values]
