"""The migrations make the tables that the models describe, can be taken back, and stand two that run at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.orm import Session

from gradvitals_service import migrating
from gradvitals_service.app import create_app  # noqa: F401  # importing it makes every table known
from gradvitals_service.database import Base, make_engine, make_session_factory
from gradvitals_service.health.detectors import NORMAL
from gradvitals_service.health.models import Event
from gradvitals_service.projects.models import Project
from gradvitals_service.projects.queries import read_detection
from gradvitals_service.runs.models import Run

TABLES = {
    "projects", "runs", "attempts", "layouts", "streams", "chunks", "gaps", "events", "deliveries", "checkpoints",
    "segments", "segment_columns", "rollups", "compactions", "event_evidence",
}  # fmt: skip


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url)
    yield engine
    engine.dispose()


def test_the_models_equal_the_migrations(engine: Engine) -> None:
    migrating.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_comparison_would_notice_a_difference(engine: Engine) -> None:
    migrating.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE runs DROP COLUMN owner"))
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) != []


def test_every_table_is_there_after_the_upgrade_and_gone_after_the_downgrade(engine: Engine) -> None:
    migrating.upgrade(engine)
    assert set(inspect(engine).get_table_names()) - {"alembic_version"} == TABLES
    migrating.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrating.upgrade(engine)
    assert set(inspect(engine).get_table_names()) - {"alembic_version"} == TABLES


def test_what_the_first_release_stored_is_there_after_the_upgrade(engine: Engine) -> None:
    migrating.upgrade(engine, "0001")
    with engine.begin() as connection:
        values = "'00000000-0000-0000-0000-000000000001', 'gru-lm', '2026-09-21 12:30:15+00:00'"
        connection.execute(text(f"INSERT INTO projects (project_id, name, created_at) VALUES ({values})"))
    migrating.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM projects")).scalar() == "gru-lm"
        assert connection.execute(text("SELECT count(*) FROM checkpoints")).scalar() == 0


def test_a_project_that_was_there_before_it_could_choose_is_judged_as_it_was(engine: Engine) -> None:
    migrating.upgrade(engine, "0003")
    values = "'00000000000000000000000000000001', 'gru-lm', '2026-09-21 12:30:15+00:00'"
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO projects (project_id, name, created_at) VALUES ({values})"))
    migrating.upgrade(engine)
    with make_session_factory(engine).begin() as session:
        project = session.scalars(select(Project)).one()
        assert (project.detection, project.detection_revision) == (None, 0)
        assert read_detection(session, project.project_id) == NORMAL


def test_a_downgrade_drops_the_segments_only_while_they_hold_no_frames(engine: Engine) -> None:
    migrating.upgrade(engine)
    run, time = "00000000000000000000000000000001", "2026-09-21 12:30:15+00:00"
    with engine.begin() as connection:
        _insert_run(connection, run, time)
        connection.execute(
            text(
                'INSERT INTO segments (run_id, attempt_id, monitor, first, "end", n, layout_id, first_step, last_step,'
                " received_at, has_layers, newest_layers)"
                f" VALUES ('{run}', '{run}', 'main', 0, 1, 1, '0', 0, 0, '{time}', true, '')"
            )
        )
    with pytest.raises(RuntimeError, match="segments hold frames"):
        migrating.downgrade(engine, "0002")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM segments")).scalar() == 1
        connection.execute(text("DELETE FROM segments"))
    migrating.downgrade(engine, "0002")
    tables = set(inspect(engine).get_table_names()) - {"alembic_version"}
    assert tables == TABLES - {"segments", "segment_columns", "rollups", "compactions", "event_evidence"}


def test_an_event_of_before_is_there_after_the_upgrade_and_after_the_downgrade(engine: Engine) -> None:
    migrating.upgrade(engine, "0003")
    run, time = "00000000000000000000000000000001", "2026-09-21 12:30:15+00:00"
    with engine.begin() as connection:
        _insert_run(connection, run, time)
        connection.execute(
            text(
                "INSERT INTO events (run_id, event_id, attempt_id, monitor, rank, kind, severity, status, start_frame,"
                " start_step, opened_at, updated_at, layers, message, revision, detector_version)"
                f" VALUES ('{run}', '{run}', '{run}', 'main', 0, 'explosion', 'critical', 'open', 7, 7, '{time}',"
                f" '{time}', '[]', 'it is large', 1, 1)"
            )
        )
    migrating.upgrade(engine)
    with Session(engine) as session:
        (event,) = session.scalars(select(Event))
        assert (event.message, event.detector_version) == ("it is large", 1)
        assert (event.shares, event.cause, event.weights_finite) == (None, None, None)
        assert event.acknowledgement is None
    migrating.downgrade(engine, "0003")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT message FROM events")).scalar() == "it is large"


def test_a_run_of_before_is_not_called_hung_after_the_upgrade(engine: Engine) -> None:
    migrating.upgrade(engine, "0005")
    with engine.begin() as connection:
        _insert_run(connection, "00000000000000000000000000000001", "2026-09-21 12:30:15+00:00")
    migrating.upgrade(engine)
    with Session(engine) as session:
        (run,) = session.scalars(select(Run))
        assert (run.overdue_at, run.waiting_since, run.longest_gap_seconds, run.pace) == (None, None, 0.0, None)
    migrating.downgrade(engine, "0005")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM runs")).scalar() == "n"


def _insert_run(connection: Connection, run: str, time: str) -> None:
    connection.execute(text(f"INSERT INTO projects (project_id, name, created_at) VALUES ('{run}', 'p', '{time}')"))
    connection.execute(
        text(
            "INSERT INTO runs (run_id, project_id, name, tags, config, links, versions, created_at, last_seen_at,"
            " state, judged_frames, clipped_frames, already_clipped, event_revision)"
            f" VALUES ('{run}', '{run}', 'n', '[]', '{{}}', '{{}}', '{{}}', '{time}', '{time}', 'running', 0, 0,"
            " false, 0)"
        )
    )


def test_a_database_is_current_only_after_the_upgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        assert not migrating.is_current(connection)
    migrating.upgrade(engine)
    with engine.connect() as connection:
        assert migrating.is_current(connection)


def test_two_that_migrate_at_once_both_succeed(empty_database_url: str) -> None:
    barrier = threading.Barrier(2)
    failures: list[Exception] = []

    def migrate() -> None:
        engine = make_engine(empty_database_url)
        try:
            barrier.wait(timeout=10)
            migrating.upgrade(engine)
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    engine = make_engine(empty_database_url)
    with engine.connect() as connection:
        assert migrating.is_current(connection)
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing_behind(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE events (in_the_way integer)"))
    with pytest.raises(Exception, match="events"):
        migrating.upgrade(engine)
    assert set(inspect(engine).get_table_names()) - {"alembic_version"} == {"events"}


def test_every_table_about_a_run_begins_its_key_with_it_and_points_at_runs_alone() -> None:
    for name in TABLES - {"projects", "runs", "deliveries"}:
        table = Base.metadata.tables[name]
        assert next(iter(table.primary_key)).name == "run_id", name
        assert {key.target_fullname for key in table.foreign_keys} == {"runs.run_id"}, name


def test_each_revision_has_a_readable_name_and_they_form_one_line() -> None:
    scripts = ScriptDirectory.from_config(migrating.alembic_config())
    revisions = list(scripts.walk_revisions())
    assert len(scripts.get_heads()) == 1
    assert all(len(Path(revision.path).stem.split("_")) >= 3 for revision in revisions)
