"""Sessions on a database of each kind."""

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import make_engine, make_session_factory


@pytest.fixture
def session_factory(database_url: str) -> Iterator[sessionmaker[Session]]:
    """A fresh migrated database."""
    engine = make_engine(database_url)
    yield make_session_factory(engine)
    engine.dispose()
