"""Find a project, or make it when a client names it for the first time; keep what people choose for it."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_write, insert_if_absent
from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.detectors import Options
from gradvitals_service.projects.detection import from_stored, to_stored
from gradvitals_service.projects.models import Project


def find_project(session: Session, name: str) -> UUID | None:
    """The id of the project with this name."""
    return session.scalar(select(Project.project_id).where(Project.name == name))


def make_project(session: Session, name: str) -> UUID:
    """Make it unless somebody else has just done so.

    In a transaction of its own, apart from any about a run: on a distributed database every node has all projects.
    """
    insert_if_absent(session, Project, {"project_id": uuid4(), "name": name, "created_at": datetime.now(UTC)})
    return session.scalars(select(Project.project_id).where(Project.name == name)).one()


def project_for(session_factory: sessionmaker[Session], name: str) -> UUID:
    """The project with this name, made on its first use."""
    with session_factory.begin() as session:
        known = find_project(session, name)
    if known is not None:
        return known
    with begin_write(session_factory) as session:
        return make_project(session, name)


def get_project(session: Session, name: str) -> UUID:
    """The id of the project with this name, or 404."""
    project_id = find_project(session, name)
    if project_id is None:
        raise NotFoundError(f"there is no project {name!r}")
    return project_id


def keep_raw_layers(session: Session, name: str, days: int | None) -> None:
    """For how many days a project keeps the norms of layers; None: for ever."""
    project_id = get_project(session, name)
    session.execute(update(Project).where(Project.project_id == project_id).values(raw_layer_days=days))


def read_detection(session: Session, project_id: UUID) -> Options:
    """What a project has chosen about its detection."""
    return from_stored(session.scalars(select(Project.detection).where(Project.project_id == project_id)).one())


def choose_detection(session: Session, project_id: UUID, options: Options) -> None:
    """Let a project's streams be judged so from their next frames on; writers notice by the revision."""
    values = {"detection": to_stored(options), "detection_revision": Project.detection_revision + 1}
    session.execute(update(Project).where(Project.project_id == project_id).values(values))
