"""Gather the runs whose figures have changed: writer threads note them, one reader on its event loop takes them."""

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress


class Changes:
    """An ordered set of run ids; ``_lock`` guards it, the wake-up belongs to the reader's loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run_ids: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def note(self, run_ids: Iterable[str]) -> None:
        """These runs have changed; from any thread. One that changed twice is read once."""
        with self._lock:
            had_some = bool(self._run_ids)
            self._run_ids.update(dict.fromkeys(run_ids))
            has_some = bool(self._run_ids)
        if has_some and not had_some and self._loop is not None and self._wake is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody reads this any more
                self._loop.call_soon_threadsafe(self._wake.set)

    async def take(self, most: int) -> list[str]:
        """Wait until some have changed, then take those that have waited longest."""
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        while True:
            with self._lock:
                taken = [run_id for run_id, _ in zip(self._run_ids, range(most), strict=False)]
                for run_id in taken:
                    del self._run_ids[run_id]
            if taken:
                return taken
            await self._wake.wait()
            self._wake.clear()
