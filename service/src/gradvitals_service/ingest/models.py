"""Tables of what was sent: how far each stream is, and the frames that could no longer be delivered."""

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, RunKey, UUIDKey


class Stream(Base):
    """The frames of one (attempt, monitor), counted from 0, lost ones included.

    ``next_frame`` is what makes delivery exactly-once; it lives here so that compaction may move the chunks.
    """

    __tablename__ = "streams"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    next_frame: Mapped[int] = mapped_column(BigInteger)
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    layout_id: Mapped[str | None] = mapped_column(String(32))
    detector_state: Mapped[bytes | None] = mapped_column(LargeBinary)  # as of detector_frame
    detector_frame: Mapped[int | None] = mapped_column(BigInteger)  # the state has seen all frames below it


class Gap(Base):
    """Frames of a stream that will never come, with the reason that the client gave."""

    __tablename__ = "gaps"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(64))
    first_step: Mapped[int | None] = mapped_column(BigInteger)
    last_step: Mapped[int | None] = mapped_column(BigInteger)
