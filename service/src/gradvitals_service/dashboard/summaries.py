"""Tell open pages of the runs that have changed: each summary is read and encoded once, for all of them.

At most twice a second everything that has changed since is read together, so that neither the number of pages nor that
of runs multiplies the work; the last change is always told.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from gradvitals_service.dashboard.hub import Hub
from gradvitals_service.dashboard.overview import read_summaries
from gradvitals_service.runs.standing import moment
from gradvitals_service.wirejson import encode

SECONDS_BETWEEN = 0.5
MOST_AT_ONCE = 500

log = structlog.get_logger()


class Summaries:
    """Summaries as JSON, without their sparklines, which a page has already and extends by itself."""

    def __init__(self, session_factory: sessionmaker[Session], hub: Hub, started_at: datetime) -> None:
        self._session_factory = session_factory
        self._hub = hub
        self._started_at = started_at

    async def run(self) -> None:
        """Tell until cancelled; what the database cannot give is asked for again."""
        while True:
            changed = await self._hub.changes.take(MOST_AT_ONCE)
            try:
                await run_in_threadpool(self.tell, changed)
            except SQLAlchemyError as error:
                log.warning("live_waits_for_database", error=type(error).__name__)
                self._hub.changes.note(changed)
            await asyncio.sleep(SECONDS_BETWEEN)

    def tell(self, run_ids: Collection[str]) -> None:
        """Read the summaries as they are now and publish them; runs that are not known are left out."""
        present = moment(datetime.now(UTC), self._started_at)
        with self._session_factory.begin() as session:
            summaries = read_summaries(session, [UUID(run_id) for run_id in run_ids], present)
        for summary in summaries:
            told = encode(summary.model_dump(exclude={"sparkline"})).decode()
            self._hub.publish({"type": "summary", "run_id": str(summary.run_id), "json": told})
