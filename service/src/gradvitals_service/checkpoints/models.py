"""Table of checkpoints: where a run's weights lie, and what its client had seen when it saved them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, RunKey, UUIDKey

MonitorSteps = Annotated[dict[str, int], mapped_column(JSON)]


class Checkpoint(Base):
    """One checkpoint, known by its path: what is saved to the same place replaces what was there.

    Whether it is clean is not stored, since events may still change it: see ``judgement``.
    """

    __tablename__ = "checkpoints"

    run_id: Mapped[RunKey]
    checkpoint_id: Mapped[UUIDKey]  # follows from the path, which is too long for a key
    attempt_id: Mapped[UUID]
    path: Mapped[str] = mapped_column(String(4096))
    step: Mapped[int] = mapped_column(BigInteger)  # how many steps it contains: those below this number
    steps: Mapped[MonitorSteps]  # the same by monitor, since each counts its own steps
    saved_at: Mapped[datetime]  # the client's clock
    reported_clean: Mapped[bool | None]  # whether each of its steps was finite or skipped; None: not known then
