"""How much of the training's time a monitor takes."""

from __future__ import annotations

from time import perf_counter

SMOOTHING = 0.4  # weight of the newest stretch


class Overhead:
    """Exponentially smoothed share of the wall time that was spent in a monitor, from one ``settle`` to the next."""

    def __init__(self) -> None:
        self.spent = 0.0  # seconds since the last settling; a monitor adds to it
        self._since: float | None = None  # the last settling, as perf_counter says
        self._settled: float | None = None

    @property
    def share(self) -> float:
        """In [0, 1]; of what has passed so far where nothing is settled yet."""
        return self._share_now() if self._settled is None else self._settled

    def settle(self) -> None:
        """End a stretch of steps, and begin the next. The first call begins the first."""
        if self._since is not None:
            share = self._share_now()
            self._settled = share if self._settled is None else self._settled + (share - self._settled) * SMOOTHING
        self._since, self.spent = perf_counter(), 0.0

    def _share_now(self) -> float:
        passed = 0.0 if self._since is None else perf_counter() - self._since
        return min(self.spent / passed, 1.0) if passed else 0.0
