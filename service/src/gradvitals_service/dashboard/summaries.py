"""Read the summaries that open pages are told, once for all of them.

The event loop owns this. A hundred pages that hear of the same change ask one after the other; all but the first find
that the summary was read after the change they mean, and take it from here.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from gradvitals_service.dashboard.overview import read_summaries
from gradvitals_service.runs.standing import moment
from gradvitals_service.wirejson import encode

MOST_REMEMBERED = 1000


class Summaries:
    """Summaries as JSON, without their sparklines, which a page has already and extends by itself."""

    def __init__(
        self,
        session_factory: sessionmaker[Session],
        started_at: datetime,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session_factory = session_factory
        self._started_at = started_at
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._remembered: OrderedDict[str, tuple[float, str | None]] = OrderedDict()  # when read, and the JSON

    async def read(self, noticed_at: Mapping[str, float]) -> list[str]:
        """The summary of each run as of its time or later; runs that are not known are left out."""
        async with self._lock:
            old = [run_id for run_id, at in noticed_at.items() if self._read_at(run_id) < at]
            if old:
                read_at = self._monotonic()
                found = await run_in_threadpool(self._load, old)
                for run_id in old:
                    self._remembered[run_id] = (read_at, found.get(run_id))
                    self._remembered.move_to_end(run_id)
            texts = [self._remembered[run_id][1] for run_id in noticed_at]
            while len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return [text for text in texts if text is not None]

    def _read_at(self, run_id: str) -> float:
        return self._remembered[run_id][0] if run_id in self._remembered else float("-inf")

    def _load(self, run_ids: Collection[str]) -> dict[str, str]:
        present = moment(datetime.now(UTC), self._started_at)
        with self._session_factory.begin() as session:
            summaries = read_summaries(session, [UUID(run_id) for run_id in run_ids], present)
        return {
            str(summary.run_id): encode(summary.model_dump(exclude={"sparkline"})).decode() for summary in summaries
        }
