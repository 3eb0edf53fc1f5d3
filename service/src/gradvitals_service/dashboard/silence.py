"""Tell open pages of runs that fall silent, since nobody sends anything when that happens."""

import asyncio
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from gradvitals_service.dashboard.hub import Hub
from gradvitals_service.dashboard.queries import fallen_silent
from gradvitals_service.runs.standing import moment

SECONDS_BETWEEN = 5.0

log = structlog.get_logger()


class SilenceWatch:
    """Looks every few seconds for runs that have become unreachable; only while somebody is there to hear of it."""

    def __init__(self, session_factory: sessionmaker[Session], hub: Hub, started_at: datetime) -> None:
        self._session_factory = session_factory
        self._hub = hub
        self._started_at = started_at
        self._told_until = moment(started_at, started_at).silent_before

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN)
            if not len(self._hub):
                continue
            try:
                await run_in_threadpool(self.look, datetime.now(UTC))
            except SQLAlchemyError as error:
                log.warning("silence_watch_waits_for_database", error=type(error).__name__)

    def look(self, now: datetime) -> None:
        """Publish the runs that have fallen silent since the last look."""
        until = moment(now, self._started_at).silent_before
        with self._session_factory.begin() as session:
            run_ids = fallen_silent(session, self._told_until, until)
        self._told_until = until
        for run_id in run_ids:
            self._hub.publish({"type": "run", "run_id": str(run_id)})
