"""The two trainings of ``examples/gru.py`` for a seed, each in a process, with every frame that the client made.

A module of its own, so that a fresh process can import it; the example comes from where an installed service has it.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PARAM_NORMS_EVERY = 64


@dataclass(frozen=True)
class Training:
    """What one training did, and what its client measured, one row a step."""

    losses: list[float]
    global_norms: list[float]
    lost_at: int | None
    layer_names: list[str]
    modules: list[str]
    layer_norms: NDArray[np.float32]
    param_norms: NDArray[np.float32]  # of every 64th row
    clip_coefficient: NDArray[np.float32]
    lr: NDArray[np.float32]
    flags: NDArray[np.uint32]


def train(seed: int, max_norm: float | None) -> Training:
    """Train once; the client sends to memory."""
    import gradvitals
    from gradvitals_service.examples import gru

    service = gradvitals.MemoryTransport()
    result = gru.train(seed, max_norm, url=service, mode="online")
    frames = service.frames()
    (layout,) = service.layouts.values()
    assert [frame.step for frame in frames] == list(range(len(result.losses)))
    return Training(
        losses=result.losses,
        global_norms=result.global_norms,
        lost_at=result.lost_at,
        layer_names=[layer.name for layer in layout.layers],
        modules=[layer.module for layer in layout.layers],
        layer_norms=np.array([frame.layer_norms for frame in frames], np.float32),
        param_norms=np.array([frame.param_norms for frame in frames[::PARAM_NORMS_EVERY]], np.float32),
        clip_coefficient=np.array([frame.clip_coefficient for frame in frames], np.float32),
        lr=np.array([frame.lr for frame in frames], np.float32),
        flags=np.array([frame.flags for frame in frames], np.uint32),
    )


def train_both(seed: int, max_norm: float) -> tuple[Training, Training]:
    """Without and with clipping."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        unclipped, clipped = pool.map(train, [seed, seed], [None, max_norm])
    return unclipped, clipped


def first_explosion(global_norms: list[float]) -> int | None:
    """The first step whose norm is not below ten times the median of the 500 before it, as the docstring counts."""
    for step in range(500, len(global_norms)):
        if not global_norms[step] < 10.0 * float(np.median(global_norms[step - 500 : step])):
            return step
    return None
