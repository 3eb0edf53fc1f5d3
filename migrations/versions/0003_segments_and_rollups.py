"""Segments, rollups and how far each stream is compacted; for how many days a project keeps its raw layers.

Types are spelled out here rather than imported, so that a later change of the service cannot change what this did.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BLOBS = {"segments": ["newest_layers"], "segment_columns": ["data"], "rollups": ["columns", "layer_columns"]}


def upgrade() -> None:
    """Create the tables; what is stored stays where it is until it is compacted."""
    _create_segments()
    _create_rollups()
    op.create_table(
        "compactions",
        *_of_stream("compactions"),
        sa.Column("settled_frame", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", name="pk_compactions"),
    )
    op.add_column("projects", sa.Column("raw_layer_days", sa.Integer(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        # The blobs are compressed already; PostgreSQL trying once more costs time and gains nothing.
        for table, columns in BLOBS.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop them, unless they hold frames: an older service knows chunks only, and none may get lost on the way back."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM segments LIMIT 1")).first() is not None:
        raise RuntimeError("segments hold frames that the revision before could not read; restore a backup instead")
    op.drop_column("projects", "raw_layer_days")
    for table in ("compactions", "rollups", "segment_columns", "segments"):
        op.drop_table(table)


def _of_stream(table: str) -> tuple[Any, ...]:
    """What makes a table one about a stream: its key begins with the run, and goes when the run goes."""
    return (
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=f"fk_{table}_run_id_runs", ondelete="CASCADE"),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("monitor", sa.String(128), nullable=False),
    )


def _create_segments() -> None:
    op.create_table(
        "segments",
        *_of_stream("segments"),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.String(32), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("has_layers", sa.Boolean(), nullable=False),
        sa.Column("newest_layers", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", "first", name="pk_segments"),
    )
    op.create_table(
        "segment_columns",
        *_of_stream("segment_columns"),
        sa.Column("name", sa.String(640), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", "name", "first", name="pk_segment_columns"),
    )


def _create_rollups() -> None:
    op.create_table(
        "rollups",
        *_of_stream("rollups"),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("buckets", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.String(32), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.Column("layer_columns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt_id", "monitor", "level", "first", name="pk_rollups"),
    )
