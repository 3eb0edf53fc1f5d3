"""Decide when an open page is told of a run again: at most twice a second, and never too early to miss a change.

Pure; times are seconds of a monotonic clock.
"""

from collections.abc import Iterable

SECONDS_BETWEEN = 0.5


class Pacer:
    """The runs that one page has yet to be told of, and when it was told of the others."""

    def __init__(self, seconds_between: float = SECONDS_BETWEEN) -> None:
        self._seconds_between = seconds_between
        self._noticed_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}

    def note(self, run_ids: Iterable[str], now: float) -> None:
        """These runs have changed; what is told of them must be read after ``now``."""
        self._noticed_at.update(dict.fromkeys(run_ids, now))

    def take_due(self, now: float) -> dict[str, float]:
        """The runs to tell of now, each with the time at which its last change was noticed."""
        self._told_at = {run_id: at for run_id, at in self._told_at.items() if now - at < self._seconds_between}
        due = {run_id: at for run_id, at in self._noticed_at.items() if run_id not in self._told_at}
        for run_id in due:
            del self._noticed_at[run_id]
            self._told_at[run_id] = now
        return due

    def seconds_to_next(self, now: float) -> float | None:
        """How long nothing will be due; None where nothing waits."""
        if not self._noticed_at:
            return None
        earliest = min(self._told_at.get(run_id, now - self._seconds_between) for run_id in self._noticed_at)
        return max(earliest + self._seconds_between - now, 0.0)
