"""Take an export apart as docs/wire.md says."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np


def pieces_of(body: bytes) -> list[dict[str, Any]]:
    """The pieces of an export, each of which stands behind its length."""
    return list(_pieces(body))


def _pieces(body: bytes) -> Iterator[dict[str, Any]]:
    position = 0
    while position < len(body):
        end = position + 4 + int.from_bytes(body[position : position + 4], "little")
        yield msgspec.msgpack.decode(body[position + 4 : end])
        position = end


def steps_of(piece: dict[str, Any]) -> bytes:
    """The steps as int64, also where they are told as the first one and the distance."""
    step = piece["step"]
    if isinstance(step, bytes):
        return step
    first, distance = step
    return (first + distance * np.arange(piece["n"], dtype=np.int64)).tobytes()


def whole_column(pieces: list[dict[str, Any]], name: str) -> bytes:
    """One column over all pieces: the steps, a metric or a layer."""
    parts = []
    for piece in pieces:
        if name == "step":
            parts.append(steps_of(piece))
        else:
            parts.append(piece["layers"].get(name) or piece["metrics"][name]["values"])
    return b"".join(parts)
