"""Tables of measurements: chunks as they came, segments that they are compacted to, and buckets for charts.

Scalars and layers lie apart everywhere, since charts read only one of them.
"""

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, RunKey, UUIDKey


class Chunk(Base):
    """Consecutive frames of a stream: as they were acknowledged, or several such chunks made one block.

    See ``codec`` for what the blobs hold.
    """

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


class Segment(Base):
    """Many frames of a stream and of one layout; frames may be lost in between. Its columns are rows of their own."""

    __tablename__ = "segments"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    end: Mapped[int] = mapped_column(BigInteger)  # the index after that of the last frame
    n: Mapped[int]
    layout_id: Mapped[str] = mapped_column(String(32))
    first_step: Mapped[int] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime]  # of its newest frame
    has_layers: Mapped[bool]  # False: retention has removed them
    newest_layers: Mapped[bytes] = mapped_column(LargeBinary)  # the norms of the last frame, one column


class SegmentColumn(Base):
    """One column of a segment; see ``segments`` for its names and what the blob holds."""

    __tablename__ = "segment_columns"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(
        String(640), primary_key=True
    )  # before ``first``: one column is read as one range
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class RollupRow(Base):
    """Consecutive buckets of a stream at one level; see ``rollup`` for what the blobs hold."""

    __tablename__ = "rollups"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)  # frames
    buckets: Mapped[int]
    layout_id: Mapped[str] = mapped_column(String(32))
    first_step: Mapped[int] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger)
    columns: Mapped[bytes] = mapped_column(LargeBinary)
    layer_columns: Mapped[bytes] = mapped_column(LargeBinary)


class Compaction(Base):
    """How far a stream is compacted. A stream without a row has chunks only."""

    __tablename__ = "compactions"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    monitor: Mapped[str] = mapped_column(String(128), primary_key=True)
    settled_frame: Mapped[int] = mapped_column(BigInteger)  # nothing is left to do below it
    first_step: Mapped[int | None] = mapped_column(BigInteger)  # of the oldest segment there ever was
