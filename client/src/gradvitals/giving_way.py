"""Let the training go on while a thread of ours works.

Whoever runs Python code keeps the interpreter for 5 ms while another thread merely waits for it
(``sys.getswitchinterval``), which a training step would feel. So what takes long calls ``give_way`` again and again.
Only in the threads that asked for it does that do anything: a command's own thread keeps nobody waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

KEPT_SECONDS = 5e-5  # of CPU time, after which others may go on
PAUSE_SECONDS = 5e-5  # 0 would take the interpreter back before anyone has woken


class _Turn(threading.local):
    is_hurried: Callable[[], bool] | None = None
    began: float = 0.0  # as thread_time says


_turn = _Turn()


def give_way_unless(is_hurried: Callable[[], bool]) -> None:
    """Have this thread give way from now on, while it is not in a hurry."""
    _turn.is_hurried, _turn.began = is_hurried, time.thread_time()


def give_way() -> None:
    """Let other threads have the interpreter for a moment, if this one has kept it for a while."""
    is_hurried = _turn.is_hurried
    if is_hurried is None or time.thread_time() - _turn.began < KEPT_SECONDS:
        return
    if not is_hurried():
        time.sleep(PAUSE_SECONDS)
    _turn.began = time.thread_time()
