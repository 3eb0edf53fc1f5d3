"""Keep freed memory for the next request: to give it back and fault it in again took a tenth to a third of an export.

Only glibc gives pages back so eagerly; with another C library nothing is to be done.
"""

import ctypes
import sys

# As <malloc.h> numbers them.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8

# The largest blob that is decoded often, a chunk's layers, is below the first. What can be kept is bounded by the
# other two: so much at the top of each arena, of which glibc would make eight a core.
_BYTES_FROM_KERNEL = 4 * 2**20
_BYTES_KEPT = 16 * 2**20
_ARENAS = 4


def keep_freed_memory() -> bool:
    """For this process, from now on; whether that could be said."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    choices = {_ARENA_MAX: _ARENAS, _MMAP_THRESHOLD: _BYTES_FROM_KERNEL, _TRIM_THRESHOLD: _BYTES_KEPT}
    return all(mallopt(name, value) for name, value in choices.items())
