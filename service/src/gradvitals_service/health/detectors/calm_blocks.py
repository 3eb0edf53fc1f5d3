"""Look at many blocks of frames at once, for the common case in which nothing happens in any of them.

What is worked out here for a block is bit for bit what looking at it alone gives: each step is the same operation on
the same numbers in the same order, over more of them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK_FRAMES: Final = 8
"""Frames judged together, by their largest norm."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Full blocks, one row each."""

    largest: NDArray[np.float32]  # [B, G]
    hits: NDArray[np.uint8]  # [B, G], frames with gradient
    gets_some: NDArray[np.bool_]  # [B, G]

    def __len__(self) -> int:
        return len(self.largest)


def make_blocks(largest: NDArray[np.float32], hits: NDArray[np.uint8], norms: NDArray[np.float32]) -> Blocks:
    """One block that is known by its ``largest`` [G] and ``hits`` [G], and those after it from ``norms`` [8 B, G]."""
    if not len(norms):  # as in most chunks of a live run
        return Blocks(largest[np.newaxis], hits[np.newaxis], largest[np.newaxis] > 0.0)
    shape = (len(norms) // BLOCK_FRAMES, BLOCK_FRAMES, len(largest))
    frames = norms.reshape(shape)
    all_largest = np.empty((shape[0] + 1, shape[2]), np.float32)
    all_hits = np.full(all_largest.shape, BLOCK_FRAMES, np.uint8)
    all_largest[0], all_hits[0] = largest, hits
    np.maximum.reduce(frames, axis=1, out=all_largest[1:])
    if not (norms > 0.0).all():
        np.sum(frames > 0.0, axis=1, dtype=np.uint8, out=all_hits[1:])
    return Blocks(all_largest, all_hits, all_largest > 0.0)


def follow(
    reference: NDArray[np.float64], known: NDArray[np.uint16], log_norms: NDArray[np.float64], memory: float
) -> NDArray[np.float64]:
    """The references [B + 1, G] before each block and after the last, if every block teaches every group."""
    references = np.empty((len(log_norms) + 1, len(reference)))
    references[0] = reference
    settled = np.count_nonzero(known < int(memory) - 1) == 0
    weight: float | NDArray[np.float64] = 1.0 / memory
    for block, log_norm in enumerate(log_norms):
        if not settled:
            weight = 1.0 / np.minimum(known + (1.0 + block), memory)
        before, after = references[block], references[block + 1]
        np.subtract(log_norm, before, out=after)
        np.multiply(after, weight, out=after)
        np.add(before, after, out=after)
    return references


def steady(rows: NDArray[np.bool_]) -> int:
    """How many of the first rows are equal to the very first."""
    if len(rows) == 1:
        return 1
    different = np.flatnonzero((rows != rows[0]).any(axis=1))
    return int(different[0]) if len(different) else len(rows)
