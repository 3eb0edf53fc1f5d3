"""Child processes that end with their parent, whatever ends it.

Every child gets a session of its own, so that Ctrl-C in the terminal reaches the parent alone, which ends its children
in order, the newest first. SIGTERM and SIGHUP count as Ctrl-C. A signal never falls between a child's start and the
moment from which it is known here; while children are being ended, further signals are ignored.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import IO, Any, Self

ENDING_SECONDS = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Children:
    """A context in the main thread: KeyboardInterrupt reaches its body, and no child outlives it."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._deferring = False
        self._interrupted = False

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._interrupt)
        return self

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start one child; ``output`` takes its stdout and stderr, which else are the parent's."""
        self._deferring = True
        try:
            process = subprocess.Popen(  # noqa: S603 - the caller's own command, never a shell's
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._processes.append(process)
        finally:
            self._deferring = False
        if self._interrupted:
            raise KeyboardInterrupt
        return process

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deferring = True
        while self._processes:
            end(self._processes.pop())
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        if not self._deferring:
            raise KeyboardInterrupt


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a child to end, and kill all of its session when it has not done so after five seconds."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
