"""The client writes exactly the golden bytes, which were put together without its code."""

from __future__ import annotations

import numpy as np
from wire import golden

from gradvitals.frames import (
    FLAG_NON_FINITE,
    FLAG_SEAM,
    FLAG_SKIPPED_STEP,
    Chunk,
    Frame,
    Layer,
    Layout,
    LostRange,
    encode_chunk,
)

LAYOUT = Layout(
    tuple(
        Layer(name, module, tuple(shape), numel, dtype, group, trainable)
        for name, module, shape, numel, dtype, group, trainable in golden.LAYERS
    )
)
ROWS_WITHOUT_LOSS = [1]
FLAGS_OF_THE_MONITOR = [FLAG_SEAM, 0, FLAG_NON_FINITE | FLAG_SKIPPED_STEP]


def golden_chunk() -> Chunk:
    frames = [
        Frame(
            step=golden.STEP[row],
            time=golden.TIME[row],
            global_norm=1e39 if row == 1 else golden.GLOBAL_NORM[row],
            clip_coefficient=golden.CLIP_COEFFICIENT[row],
            max_norm=golden.MAX_NORM[row],
            lr=golden.LR[row],
            layout=LAYOUT,
            layer_norms=np.array(golden.LAYER_NORMS[row], dtype=np.float32),
            loss=None if row in ROWS_WITHOUT_LOSS else golden.LOSS[row],
            loss_scale=golden.LOSS_SCALE[row],
            flags=FLAGS_OF_THE_MONITOR[row],
            scalars={name: values[row] for name, values in golden.SCALARS.items() if row in values},
        )
        for row in range(len(golden.STEP))
    ]
    frames[0].param_norms = np.array(golden.PARAM_NORMS[0], dtype=np.float32)
    frames[2].non_finite = [tuple(counts) for counts in golden.DETAILS[0]["non_finite"]]
    frames[2].batch_id = golden.DETAILS[0]["batch_id"]
    return Chunk(golden.ATTEMPT_ID, golden.MONITOR, LAYOUT, golden.FIRST, frames, [LostRange(**golden.LOST)])


def test_the_golden_file_holds_what_its_script_describes():
    assert golden.encode() == golden.PATH.read_bytes()


def test_the_layout_id_is_the_digest_of_the_canonical_form():
    assert golden.layout_digest() == golden.LAYOUT_ID
    assert LAYOUT.layout_id == golden.LAYOUT_ID


def test_the_encoder_reproduces_the_golden_file_byte_for_byte():
    assert encode_chunk(golden_chunk()) == golden.PATH.read_bytes()
