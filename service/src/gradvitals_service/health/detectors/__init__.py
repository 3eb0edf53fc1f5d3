"""Judge the gradients of one stream: frames in, events out.

Pure and causal: no clock, no randomness, no I/O, and nothing of ours imported. The same frames give the same events bit
for bit on one machine, however they are split into blocks and however often the state is saved and restored in between.
A non-finite value never enters a level: it is counted, told, and left out.
"""

from gradvitals_service.health.detectors.combined import DETECTOR_VERSION, Detectors
from gradvitals_service.health.detectors.interface import EventUpdate, Frames, Kind, Severity, Status
from gradvitals_service.health.detectors.options import KINDS, NORMAL, SENSITIVITIES, Options, Sensitivity

__all__ = [
    "DETECTOR_VERSION",
    "KINDS",
    "NORMAL",
    "SENSITIVITIES",
    "Detectors",
    "EventUpdate",
    "Frames",
    "Kind",
    "Options",
    "Sensitivity",
    "Severity",
    "Status",
]
