"""How fast a run steps, and until when its next step may be waited for.

Types are spelled out here rather than imported, so that a later change of the service cannot change what this did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ADDED = ("pace", "waiting_since", "longest_gap_seconds", "overdue_at")


def upgrade() -> None:
    """Runs that are there count as hung only after a step from now on has been waited for."""
    op.add_column("runs", sa.Column("pace", sa.LargeBinary(), nullable=True))
    op.add_column("runs", sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("runs", sa.Column("longest_gap_seconds", sa.Double(), server_default="0", nullable=False))
    op.add_column("runs", sa.Column("overdue_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Forget it: an older service does not judge it."""
    for name in reversed(ADDED):
        op.drop_column("runs", name)
