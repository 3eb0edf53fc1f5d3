"""JSON as the wire writes it: a number that is not finite is "NaN", "Infinity" or "-Infinity", a missing one null.

Bodies are read strictly: the bare words and 1e999 are refused, as is nesting deep enough to exhaust the stack.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

import msgspec
import numpy as np
from starlette.responses import Response

WireNumber = float | Literal["NaN", "Infinity", "-Infinity"]

_INT64 = range(-(2**63), 2**63)


def wire_number(value: float) -> WireNumber:
    """Spell a number that JSON has no literal for."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def encode(content: Any) -> bytes:
    """Write any nesting of mappings, sequences, numpy arrays, ids, times and numbers."""
    return msgspec.json.encode(_spelled(content))


def _spelled(content: Any) -> Any:
    """Replace what msgspec would write as null or refuse."""
    if isinstance(content, float):
        return wire_number(content)
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return {key if isinstance(key, str) else str(key): _spelled(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_spelled(value) for value in content]
    if isinstance(content, (np.ndarray, np.generic)):
        return _spelled(content.tolist())
    if isinstance(content, int) and content not in _INT64:
        return msgspec.Raw(str(content).encode())  # a 128 bit seed in a config keeps its digits
    if isinstance(content, UUID):
        return str(content)
    if hasattr(content, "model_dump"):
        return _spelled(content.model_dump())
    return content


class WireJSONResponse(Response):
    """A JSON answer in which numbers may be non-finite."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return encode(content)
