"""What a project chooses about its detection, and how often that has changed.

Types are spelled out here rather than imported, so that a later change of the service cannot change what this did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Projects that are there go on as they were."""
    op.add_column("projects", sa.Column("detection", sa.JSON(), nullable=True))
    op.add_column("projects", sa.Column("detection_revision", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Forget what was chosen: an older service judges every project alike."""
    op.drop_column("projects", "detection_revision")
    op.drop_column("projects", "detection")
