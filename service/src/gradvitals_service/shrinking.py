"""Give back to the disk what SQLite's file has no use for, after runs were deleted or their layers have grown too old.

A little at a time, through the writer, so that no frame waits for long. What is free while a run is compacted is used
again soon: as long as it is a small part of the file, it stays. PostgreSQL does all of this by itself.
"""

from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.background import Chore
from gradvitals_service.database import give_back_pages, pages_of
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import SECONDS_TO_WRITE, Item, Submits

SECONDS_BETWEEN = 60.0
LEAST_PAGES = 1280  # of 4 or 8 KiB: so little would be missed by nobody
PART_KEPT = 0.1  # of the file
PAGES_AT_ONCE = 256

_NO_RUN = UUID(int=0)

log = structlog.get_logger()


class Shrinker(Chore):
    """Looks every minute whether too much of the file is free."""

    def __init__(self, session_factory: sessionmaker[Session], writer: Submits) -> None:
        super().__init__("shrinker", SECONDS_BETWEEN)
        self._session_factory = session_factory
        self._writer = writer

    def work(self) -> int:
        """Give back what is too much; gives how many pages that were."""
        given = 0
        while (pages := self._too_many()) and not self.closing:
            pages = min(pages, PAGES_AT_ONCE)
            self._writer.submit(Item(_NO_RUN, partial(_give_back, pages=pages))).result(SECONDS_TO_WRITE)
            given += pages
        if given:
            log.info("pages_given_back", pages=given)
        return given

    def _too_many(self) -> int:
        """The free pages above what may stay; 0 on PostgreSQL."""
        with self._session_factory.begin() as session:
            if session.get_bind().dialect.name != "sqlite":
                return 0
            pages, free = pages_of(session.connection())
        return max(free - max(LEAST_PAGES, int(PART_KEPT * pages)), 0)


def _give_back(transaction: Transaction, pages: int) -> None:
    give_back_pages(transaction.connection, pages)
