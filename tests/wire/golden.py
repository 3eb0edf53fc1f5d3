"""The golden chunk of wire version 1: the values that made ``chunk_v1.msgpack``, and how its bytes come about.

Written after ``docs/wire.md`` with ``struct`` only, so that it leans on neither side's code. The client is tested to
write exactly these bytes, the service to read exactly these values. The file is frozen: a change is a new version.

Run it to write the file anew: ``python tests/wire/golden.py``.
"""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path

PATH = Path(__file__).with_name("chunk_v1.msgpack")

ATTEMPT_ID = "0199a3c2-7d10-7abc-8def-0123456789ab"
MONITOR = "main"
LAYERS = [  # name, module, shape, numel, dtype, parameter_group, trainable
    ["gru.weight_hh_l0", "gru.hh_l0", [96, 32], 3072, "float32", 0, True],
    ["head.bias", "head", [300], 300, "bfloat16", 1, False],
]
LAYOUT_ID = "a5ec79c40d3de3922bb4b1281b171718"  # computed by layout_digest()

FLOAT32_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]

# Frames 60 to 63 of the stream were given up; 64, 65 and 66 follow. Frame 64 carries the norms of the weights.
LOST = {"first": 60, "n": 4, "reason": "queue_full", "first_step": 160, "last_step": 163}
FIRST = 64
STEP = [164, 165, 170]
TIME = [1790000000.0, 1790000000.25, 1790000001.5]
GLOBAL_NORM = [5.0, FLOAT32_MAX, math.nan]  # the second was 1e39: finite, beyond float32, so clamped
CLIP_COEFFICIENT = [0.5, 1.0, math.nan]
MAX_NORM = [2.5, math.inf, 2.5]
LR = [0.125, 0.0625, math.nan]  # the third step's parameter group 0 has no learning rate
LOSS = [0.75, math.nan, math.nan]  # the second logged none, the third logged a NaN: the flags tell them apart
LOSS_SCALE = [1.0, 1.0, 65536.0]
FLAGS = [2 | 16, 0, 1 | 2 | 4]  # loss and seam; nothing; non_finite, loss and skipped_step
LAYER_NORMS = [[3.0, 4.0], [FLOAT32_MAX, 0.0], [math.nan, math.inf]]
PARAM_NORM_ROWS = [0]
PARAM_NORMS = [[12.0, 0.5]]
SCALARS = {"accuracy": {0: 0.5, 2: math.nan}, "tokens": {0: 4096.0, 1: 4096.0, 2: 8192.0}}  # name -> row -> value
DETAILS = [{"row": 2, "non_finite": [[0, 7, 0], [1, 0, 300]], "batch_id": "epoch 3, batch 17"}]


def encode() -> bytes:
    """The body, key by key in the order of ``docs/wire.md``."""
    n = len(STEP)
    return _map(
        {
            "v": _int(1),
            "attempt_id": _text(ATTEMPT_ID),
            "monitor": _text(MONITOR),
            "layout_id": _text(LAYOUT_ID),
            "first": _int(FIRST),
            "n": _int(n),
            "step": _binary(struct.pack(f"<{n}q", *STEP)),
            "time": _binary(struct.pack(f"<{n}d", *TIME)),
            "global_norm": _floats(GLOBAL_NORM),
            "clip_coefficient": _floats(CLIP_COEFFICIENT),
            "max_norm": _floats(MAX_NORM),
            "lr": _floats(LR),
            "loss": _floats(LOSS),
            "loss_scale": _floats(LOSS_SCALE),
            "flags": _binary(struct.pack(f"<{n}I", *FLAGS)),
            "layer_norms": _floats([norm for row in LAYER_NORMS for norm in row]),
            "param_norms": _map(
                {
                    "rows": _binary(struct.pack("<1I", *PARAM_NORM_ROWS)),
                    "values": _floats([norm for row in PARAM_NORMS for norm in row]),
                }
            ),
            "scalars": _map({name: _scalar(values) for name, values in SCALARS.items()}),
            "details": _array(
                [
                    _map(
                        {
                            "row": _int(detail["row"]),
                            "non_finite": _array(
                                [_array([_int(count) for count in row]) for row in detail["non_finite"]]
                            ),
                            "batch_id": _text(detail["batch_id"]),
                        }
                    )
                    for detail in DETAILS
                ]
            ),
            "lost": _array([_map({key: _text(v) if isinstance(v, str) else _int(v) for key, v in LOST.items()})]),
        }
    )


def layout_digest() -> str:
    """The hex BLAKE2b-128 of the canonical form of LAYERS."""
    rows = [
        _array(
            [
                _text(name),
                _text(module),
                _array([_int(size) for size in shape]),
                _int(numel),
                _text(dtype),
                _int(group),
                b"\xc3" if trainable else b"\xc2",
            ]
        )
        for name, module, shape, numel, dtype, group, trainable in LAYERS
    ]
    return hashlib.blake2b(_array(rows), digest_size=16).hexdigest()


def _scalar(values: dict[int, float]) -> bytes:
    bitmap = sum(1 << row for row in values)  # three rows fit in one byte; row 0 is the least significant bit
    return _map(
        {"present": _binary(bytes([bitmap])), "values": _binary(struct.pack(f"<{len(values)}d", *values.values()))}
    )


def _floats(values: list[float]) -> bytes:
    return _binary(struct.pack(f"<{len(values)}f", *values))


# MessagePack, as far as it is needed here, each in its smallest encoding.


def _int(value: int) -> bytes:
    if value < 0x80:
        return struct.pack(">B", value)
    if value < 0x100:
        return b"\xcc" + struct.pack(">B", value)
    return b"\xcd" + struct.pack(">H", value)


def _text(value: str) -> bytes:
    data = value.encode()
    return (bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xd9" + bytes([len(data)])) + data


def _binary(value: bytes) -> bytes:
    return b"\xc4" + bytes([len(value)]) + value


def _array(items: list[bytes]) -> bytes:
    return bytes([0x90 | len(items)]) + b"".join(items)


def _map(items: dict[str, bytes]) -> bytes:
    head = bytes([0x80 | len(items)]) if len(items) < 16 else b"\xde" + struct.pack(">H", len(items))
    return head + b"".join(_text(key) + value for key, value in items.items())


if __name__ == "__main__":
    PATH.write_bytes(encode())
