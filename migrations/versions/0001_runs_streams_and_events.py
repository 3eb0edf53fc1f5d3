"""The first tables: projects, runs with their attempts, layouts and streams, chunks, gaps, events, deliveries.

Types are spelled out here rather than imported, so that a later change of the service cannot change what this did.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)
NonFinite: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Create them, parents first, so that each could be distributed as soon as it exists."""
    op.create_table(
        "projects",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    _create_runs()
    _create_attempts()
    _create_layouts_and_streams()
    _create_chunks_and_gaps()
    _create_events()
    _create_deliveries()


def downgrade() -> None:
    """Drop them, children first."""
    for table in ("deliveries", "events", "gaps", "chunks", "streams", "layouts", "attempts", "runs", "projects"):
        op.drop_table(table)


def _of_run(table: str) -> tuple[sa.Column[Any], sa.ForeignKeyConstraint]:
    """What makes a table one about a run: its key begins with the run, and goes when the run goes."""
    return (
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=f"fk_{table}_run_id_runs", ondelete="CASCADE"),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("owner", sa.String(512), nullable=True),
        sa.Column("group_name", sa.String(512), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("links", sa.JSON(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("last_seen_at", Time, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("global_norm", NonFinite, nullable=True),
        sa.Column("loss", NonFinite, nullable=True),
        sa.Column("judged_frames", sa.BigInteger(), nullable=False),
        sa.Column("clipped_frames", sa.BigInteger(), nullable=False),
        sa.Column("max_norm", NonFinite, nullable=True),
        sa.Column("already_clipped", sa.Boolean(), nullable=False),
        sa.Column("sparkline", sa.LargeBinary(), nullable=True),
        sa.Column("event_revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.project_id"], name="fk_runs_project_id_projects", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_project_id_last_seen_at", "runs", ["project_id", "last_seen_at"])


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        *_of_run("attempts"),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("world_size", sa.Integer(), nullable=False),
        sa.Column("launch", sa.Uuid(), nullable=False),
        sa.Column("host", sa.String(512), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("resumed_from_step", sa.BigInteger(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("declared_state", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("heartbeat_at", Time, nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("overhead", sa.Double(), nullable=True),
        sa.Column("exception", sa.String(512), nullable=True),
        sa.Column("interactive", sa.Boolean(), nullable=False),
        sa.Column("monitors", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", name="pk_attempts"),
    )


def _create_layouts_and_streams() -> None:
    op.create_table(
        "layouts",
        *_of_run("layouts"),
        sa.Column("layout_id", sa.String(32), nullable=False),
        sa.Column("layer_count", sa.Integer(), nullable=False),
        sa.Column("layers", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "layout_id", name="pk_layouts"),
    )
    op.create_table(
        "streams",
        *_of_run("streams"),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("monitor", sa.String(128), nullable=False),
        sa.Column("next_frame", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("layout_id", sa.String(32), nullable=True),
        sa.Column("detector_state", sa.LargeBinary(), nullable=True),
        sa.Column("detector_frame", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", name="pk_streams"),
    )


def _create_chunks_and_gaps() -> None:
    op.create_table(
        "chunks",
        *_of_run("chunks"),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("monitor", sa.String(128), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.String(32), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.Column("layer_columns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", "first", name="pk_chunks"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # The blobs are compressed already; PostgreSQL trying once more costs time and gains nothing.
        op.execute("ALTER TABLE chunks ALTER COLUMN columns SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE chunks ALTER COLUMN layer_columns SET STORAGE EXTERNAL")
    op.create_table(
        "gaps",
        *_of_run("gaps"),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("monitor", sa.String(128), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", "first", name="pk_gaps"),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        *_of_run("events"),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("monitor", sa.String(128), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("start_frame", sa.BigInteger(), nullable=False),
        sa.Column("start_step", sa.BigInteger(), nullable=False),
        sa.Column("end_step", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("resolved_at", Time, nullable=True),
        sa.Column("peak", NonFinite, nullable=True),
        sa.Column("times_usual", NonFinite, nullable=True),
        sa.Column("usual", NonFinite, nullable=True),
        sa.Column("layers", sa.JSON(), nullable=False),
        sa.Column("message", sa.String(1024), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("detector_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "event_id", name="pk_events"),
    )
    op.create_index("ix_events_opened_at", "events", ["opened_at"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(128), nullable=False),
        sa.Column("title", sa.String(1024), nullable=False),
        sa.Column("body", sa.String(8192), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Time, nullable=False),
        sa.Column("leased_until", Time, nullable=True),
        sa.Column("error", sa.String(512), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_state_due_at", "deliveries", ["state", "due_at"])
