"""Tables of whose runs there are."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, JSONObject, UUIDKey


class Project(Base):
    """A team's space; its name is unique and is what clients say."""

    __tablename__ = "projects"

    project_id: Mapped[UUIDKey]
    name: Mapped[str] = mapped_column(String(512), unique=True)
    created_at: Mapped[datetime]
    raw_layer_days: Mapped[int | None]  # after so many days the norms of layers go; None: they stay
    detection: Mapped[JSONObject | None]  # see detection.py; None: as it comes
    detection_revision: Mapped[int] = mapped_column(server_default="0")  # counts its changes
