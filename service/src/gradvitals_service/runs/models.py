"""Tables of what trains: runs, the attempts at them, and the layouts of their layers.

A run's id comes first in every key below it and foreign keys lead to ``runs`` alone, so that the schema
can be distributed by run as it stands.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Double, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, JSONObject, JSONStrings, NonFiniteFloat, RunKey, UUIDKey


class Run(Base):
    """One training job over all its attempts, with its newest figures kept beside it for the overview."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_project_id_last_seen_at", "project_id", "last_seen_at"),)

    run_id: Mapped[UUIDKey]  # the client made it
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.project_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(512))
    owner: Mapped[str | None] = mapped_column(String(512))
    group_name: Mapped[str | None] = mapped_column(String(512))
    tags: Mapped[JSONStrings]
    # May be megabytes, and every chunk locks this row: read only where they are shown.
    config: Mapped[JSONObject] = mapped_column(deferred=True, deferred_group="declared")
    links: Mapped[JSONObject] = mapped_column(deferred=True, deferred_group="declared")
    versions: Mapped[JSONObject] = mapped_column(deferred=True, deferred_group="declared")
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))  # as declared; "unreachable" and "hung" are worked out when read
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    global_norm: Mapped[NonFiniteFloat | None]  # newest, of rank 0; kept also when NaN or infinite
    loss: Mapped[NonFiniteFloat | None]
    judged_frames: Mapped[int] = mapped_column(BigInteger)  # those with a clip coefficient, over the whole run
    clipped_frames: Mapped[int] = mapped_column(BigInteger)  # of these, those with a coefficient below 1
    max_norm: Mapped[NonFiniteFloat | None]
    already_clipped: Mapped[bool]  # somebody clips before us, so that the norms say nothing about health
    sparkline: Mapped[bytes | None] = mapped_column(LargeBinary)  # see series/sparkline.py
    pace: Mapped[bytes | None] = mapped_column(LargeBinary)  # see pace.py
    waiting_since: Mapped[datetime | None]  # for its next step: when its newest one arrived, or could have come at last
    longest_gap_seconds: Mapped[float] = mapped_column(Double, server_default="0")  # that was waited, and it went on
    overdue_at: Mapped[datetime | None]  # when it counts as hung, unless a step comes
    event_revision: Mapped[int]  # counts every change of an event of this run


class Attempt(Base):
    """One lifetime of one process, so of one rank, of a run; its newest heartbeat is part of it."""

    __tablename__ = "attempts"

    run_id: Mapped[RunKey]
    attempt_id: Mapped[UUIDKey]
    rank: Mapped[int]
    world_size: Mapped[int]
    launch: Mapped[UUID]  # attempts that were started together share it
    host: Mapped[str] = mapped_column(String(512))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    resumed_from_step: Mapped[int | None] = mapped_column(BigInteger)
    live: Mapped[bool]  # False: a late sync, which pages nobody
    declared_state: Mapped[str] = mapped_column(String(16))  # what the client said last
    state: Mapped[str] = mapped_column(String(16))  # what holds: an end waits until every frame has arrived
    heartbeat_at: Mapped[datetime]
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    overhead: Mapped[float | None]  # share of the step that the client took, in [0, 1]
    exception: Mapped[str | None] = mapped_column(String(512))
    interactive: Mapped[bool]
    monitors: Mapped[JSONObject]


class Layout(Base):
    """A monitor's ordered layers, named by the hash of their canonical form."""

    __tablename__ = "layouts"

    run_id: Mapped[RunKey]
    layout_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    layer_count: Mapped[int]
    layers: Mapped[bytes] = mapped_column(LargeBinary)  # the canonical MessagePack, zstd compressed
