"""Delete a run and all that was stored about it, a few rows at a time.

From the first transaction on nobody sees the run any more. What it has stored goes in small ones after it, through the
writer, so that nobody's frames wait for long; a service that ends meanwhile goes on after its next start. The run's own
row goes last, and with it what little hangs on it.
"""

from collections.abc import Callable
from functools import partial
from typing import cast
from uuid import UUID

import structlog
from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.alerts.models import Delivery
from gradvitals_service.background import Chore
from gradvitals_service.database import Base
from gradvitals_service.health.models import Event, EventEvidence
from gradvitals_service.ingest.models import Gap
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import SECONDS_TO_WRITE, Item, Submits
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import DELETED, lock_run
from gradvitals_service.series.models import Chunk, RollupRow, Segment, SegmentColumn

SECONDS_BETWEEN = 5.0
# So many rows in one transaction: some 10 MB of blobs at most, as usual chunks and columns go.
ROWS_AT_ONCE: dict[type[Base], int] = {
    SegmentColumn: 200,
    Chunk: 64,
    RollupRow: 64,
    EventEvidence: 200,
    Segment: 500,
    Gap: 5000,
}

log = structlog.get_logger()


def delete_run(transaction: Transaction, run_id: UUID) -> None:
    """Let a run be seen no more, and its alerts go to nobody; 404 where there is none."""
    session = transaction.session
    run = lock_run(session, run_id)
    run.state = DELETED
    session.flush()
    for table in (Event, Delivery):
        session.execute(delete(table).where(table.run_id == run_id))
    transaction.publish({"type": "run", "run_id": str(run_id)})


class Remover(Chore):
    """Removes what deleted runs have stored."""

    def __init__(self, session_factory: sessionmaker[Session], writer: Submits) -> None:
        super().__init__("remover", SECONDS_BETWEEN)
        self._session_factory = session_factory
        self._writer = writer

    def work(self) -> int:
        """Remove every deleted run; gives how many."""
        with self._session_factory.begin() as session:
            run_ids = session.scalars(select(Run.run_id).where(Run.state == DELETED)).all()
        return sum(self._remove(run_id) for run_id in run_ids)

    def _remove(self, run_id: UUID) -> bool:
        for table, rows in ROWS_AT_ONCE.items():
            while self._do(run_id, partial(delete_rows, run_id=run_id, table=table, most=rows)):
                if self.closing:
                    return False
        self._do(run_id, partial(_delete_row_of_run, run_id=run_id))
        log.info("run_removed", run_id=str(run_id))
        return True

    def _do(self, run_id: UUID, work: Callable[[Transaction], int]) -> int:
        return int(self._writer.submit(Item(run_id, work)).result(SECONDS_TO_WRITE))


def delete_rows(transaction: Transaction, run_id: UUID, table: type[Base], most: int) -> int:
    """Delete some of a run's rows; gives how many."""
    columns = cast(Table, table.__table__).c
    key = [column for column in columns if column.primary_key]
    some = select(*key).where(columns.run_id == run_id).limit(most)
    statement = delete(table).where(columns.run_id == run_id, tuple_(*key).in_(some))
    result = transaction.session.connection().execute(statement, execution_options={"preserve_rowcount": True})
    return int(result.rowcount)


def _delete_row_of_run(transaction: Transaction, run_id: UUID) -> int:
    transaction.session.execute(delete(Run).where(Run.run_id == run_id, Run.state == DELETED))
    return 0
