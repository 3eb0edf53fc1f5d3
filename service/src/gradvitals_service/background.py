"""A thread that does one chore again and again, beside the requests, until it is closed."""

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from gradvitals_service.database import database_reason
from gradvitals_service.errors import OverloadedError

log = structlog.get_logger()


class Chore(threading.Thread):
    """Calls ``work`` every so many seconds, from ``start`` to ``close``; outlives a database that is away."""

    def __init__(self, name: str, seconds_between: float) -> None:
        super().__init__(name=f"gradvitals-{name}", daemon=True)
        self._chore = name
        self._seconds_between = seconds_between
        self._closing = threading.Event()

    @property
    def closing(self) -> bool:
        """Whether to stop after the piece of work at hand."""
        return self._closing.is_set()

    def work(self) -> int:
        """Do what is due; gives how much that was."""
        raise NotImplementedError

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Stop after the piece of work at hand; what is left is done after the next start."""
        self._closing.set()
        if self.is_alive():
            self.join(timeout_seconds)

    def run(self) -> None:
        """Work, rest, again."""
        while not self._closing.is_set():
            try:
                self.work()
            except (SQLAlchemyError, OverloadedError, TimeoutError) as error:
                reason = database_reason(error) if isinstance(error, SQLAlchemyError) else str(error)
                log.warning("chore_waits", chore=self._chore, reason=reason)
            except Exception:  # a fault of ours must end neither the thread nor the service
                log.exception("chore_failed", chore=self._chore)
            self._closing.wait(self._seconds_between)
