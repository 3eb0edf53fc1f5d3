"""Table of measurements: one row a chunk; scalars and layers lie apart, since charts read only one of them."""

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, RunKey, UUIDKey


class Chunk(Base):
    """Consecutive frames of a stream as they were acknowledged; see ``codec`` for what the blobs hold."""

    __tablename__ = "chunks"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    n: Mapped[int]
    layout_id: Mapped[str] = mapped_column(String(32))
    first_step: Mapped[int] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime]
    columns: Mapped[bytes] = mapped_column(LargeBinary)
    layer_columns: Mapped[bytes] = mapped_column(LargeBinary)
