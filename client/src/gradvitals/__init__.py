"""Clip gradients, measure every layer, and hear of it when training blows up.

    run = gradvitals.init(project="gru-lm")
    run.watch(model, optimizer, max_norm=1.0)

Importing this package imports neither torch nor numpy: its names are looked up when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gradvitals._version import __version__
from gradvitals.errors import (
    ChunkRefusedError,
    ConfigurationError,
    DeliveryError,
    GradvitalsError,
    NonFiniteGradientError,
    NotDeclaredError,
    OutOfOrderError,
    SendingStoppedError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from gradvitals.clipping import ClipByGlobalNorm, ClipByLayerNorm, ClipByValue, clip_grad_norm_
    from gradvitals.memory_transport import MemoryTransport
    from gradvitals.monitor import Monitor
    from gradvitals.run import Run
    from gradvitals.start import init

__all__ = [
    "ChunkRefusedError",
    "ClipByGlobalNorm",
    "ClipByLayerNorm",
    "ClipByValue",
    "ConfigurationError",
    "DeliveryError",
    "GradvitalsError",
    "MemoryTransport",
    "Monitor",
    "NonFiniteGradientError",
    "NotDeclaredError",
    "OutOfOrderError",
    "Run",
    "SendingStoppedError",
    "ServiceUnavailableError",
    "__version__",
    "clip_grad_norm_",
    "init",
]

_LAZY = {
    "ClipByGlobalNorm": "gradvitals.clipping",
    "ClipByLayerNorm": "gradvitals.clipping",
    "ClipByValue": "gradvitals.clipping",
    "MemoryTransport": "gradvitals.memory_transport",
    "Monitor": "gradvitals.monitor",
    "Run": "gradvitals.run",
    "clip_grad_norm_": "gradvitals.clipping",
    "init": "gradvitals.start",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
