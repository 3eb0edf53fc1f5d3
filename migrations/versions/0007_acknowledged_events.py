"""Who has acknowledged an event, when, and what they noted; and the inbox's indexes: one in its order, one to count by.

Types are spelled out here rather than imported, so that a later change of the service cannot change what this did.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ADDED: dict[str, TypeEngine[Any]] = {
    "acknowledged_at": sa.DateTime(timezone=True),
    "acknowledged_by": sa.String(512),
    "note": sa.String(1000),
}


def upgrade() -> None:
    """Nobody has acknowledged what is there."""
    for name, kind in ADDED.items():
        op.add_column("events", sa.Column(name, kind, nullable=True))
    op.create_index("ix_events_status", "events", ["status", "opened_at", "event_id"])
    op.create_index("ix_events_severity", "events", ["severity", "status", "acknowledged_at"])


def downgrade() -> None:
    """Forget what people said: an older service has no place for it."""
    op.drop_index("ix_events_severity", "events")
    op.drop_index("ix_events_status", "events")
    for name in reversed(ADDED):
        op.drop_column("events", name)
