"""Bring a step's measurements from their device to the host, all at once.

The one place that waits for a device, once a step.
"""

from __future__ import annotations

import torch
from torch import Tensor


def read_together(vector: Tensor | list[float], *numbers: Tensor | float) -> tuple[list[float], list[float]]:
    """A vector and some single numbers on the host. Several on a device are one copy from it."""
    values = torch.as_tensor(vector)
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    pieces = [torch.as_tensor(number, dtype=dtype).detach().reshape(1).to(values.device) for number in numbers]
    together = torch.cat([values.detach().to(dtype), *pieces]).tolist()
    return together[: values.numel()], together[values.numel() :]
