"""What an event says besides where it was, and a copy of the frames around it that no retention touches.

Types are spelled out here rather than imported, so that a later change of the service cannot change what this did.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADDED: dict[str, TypeEngine[Any]] = {
    "peak_step": sa.BigInteger(),
    "shares": sa.JSON(),
    "first_layer": sa.String(512),
    "last_healthy_step": sa.BigInteger(),
    "weights_finite": sa.Boolean(),
    "batch_id": sa.String(512),
    "resume_from": sa.JSON(),
    "cause": sa.String(1024),
    "action": sa.String(1024),
}


def upgrade() -> None:
    """Add the columns, which are not known of older events, and create the table."""
    for name, kind in ADDED.items():
        op.add_column("events", sa.Column(name, kind, nullable=True))
    op.create_table(
        "event_evidence",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("monitor", sa.String(128), nullable=False),
        sa.Column("start_frame", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("layers", sa.JSON(), nullable=False),
        sa.Column("last_healthy_step", sa.BigInteger(), nullable=True),
        sa.Column("clean_checkpoint", sa.JSON(), nullable=True),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.Column("layer_columns", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_event_evidence_run_id_runs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "event_id", name="pk_event_evidence"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # The blobs are compressed already; PostgreSQL trying once more costs time and gains nothing.
        for column in ("columns", "layer_columns"):
            op.execute(f"ALTER TABLE event_evidence ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop them, with what they say: an older service tells less of an event, and is not misled by it."""
    op.drop_table("event_evidence")
    for name in reversed(ADDED):
        op.drop_column("events", name)
