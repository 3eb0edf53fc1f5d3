"""The norms of layers go after a project's days; buckets, scalars and what hangs on the run stay."""

from datetime import timedelta

import pytest
from service.series.storing import NOW, StreamInTables, WriterAtOnce, make_stream
from service.series.test_compacted_reading import exported, heatmap, layer_series, series
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from gradvitals_service import cli
from gradvitals_service.database import begin_write
from gradvitals_service.errors import NotFoundError
from gradvitals_service.projects.models import Project
from gradvitals_service.projects.queries import keep_raw_layers
from gradvitals_service.series.compactor import Compactor
from gradvitals_service.series.models import SegmentColumn
from gradvitals_service.series.retention import Retention


@pytest.fixture
def stream(session_factory: sessionmaker[Session]) -> StreamInTables:
    """A run of 2,000 frames, the last 500 of them in a chunk, that came at ``NOW``."""
    stream = make_stream(session_factory)
    for seed in range(4):
        stream.add(500, seed=seed)
    return stream


def retention(stream: StreamInTables) -> Retention:
    writer = WriterAtOnce(stream.session_factory)
    return Retention(stream.session_factory, writer, Compactor(stream.session_factory, writer))


def keep(stream: StreamInTables, days: int | None) -> None:
    with begin_write(stream.session_factory) as session:
        keep_raw_layers(session, "p", days)


class TestRetention:
    def test_removes_layers_that_are_older_than_the_project_keeps_them(self, stream: StreamInTables):
        keep(stream, 30)
        before = series(stream), heatmap(stream, points=20)
        assert retention(stream).work(NOW + timedelta(days=31)) == 1
        with stream.session_factory.begin() as session:
            names = set(session.scalars(select(SegmentColumn.name)))
        assert not any(name.startswith("layer/") or name == "params" for name in names)
        assert series(stream) == before[0]
        after = heatmap(stream, points=20)  # from the buckets
        assert after["frames"] == 2000
        assert [max(row) for row in after["values"]] == [max(row) for row in before[1]["values"]]

    def test_is_told_where_every_frame_of_the_layers_is_asked_for(self, stream: StreamInTables):
        keep(stream, 30)
        retention(stream).work(NOW + timedelta(days=31))
        gone = {"first_step": 0, "last_step": 1999, "n": 2000, "reason": "retention"}
        assert heatmap(stream, asked=(10, 20))["gaps"] == [gone]
        assert layer_series(stream, "block1.weight", asked=(10, 20))["gaps"] == [gone]
        assert [piece["missing"] for piece in exported(stream)] == [gone]

    def test_leaves_what_is_younger_and_projects_that_keep_everything(self, stream: StreamInTables):
        assert retention(stream).work(NOW + timedelta(days=3650)) == 0
        keep(stream, 30)
        assert retention(stream).work(NOW + timedelta(days=29)) == 0
        assert len(stream.content()) == 2000

    def test_lets_a_run_go_on(self, stream: StreamInTables):
        keep(stream, 30)
        retention(stream).work(NOW + timedelta(days=31))
        stream.add(100, seed=9)
        assert series(stream)["frames"] == 2100
        assert len(stream.content()) == 100
        keep(stream, None)
        assert retention(stream).work(NOW + timedelta(days=31)) == 0

    def test_is_set_by_a_command(self, stream: StreamInTables):
        url = ["--database-url", stream.session_factory.kw["bind"].url.render_as_string(hide_password=False)]
        answer = CliRunner().invoke(cli.app, ["retention", "p", "30", *url])
        assert (answer.exit_code, answer.output) == (0, "p keeps the norms of its layers for 30 days\n")
        with stream.session_factory.begin() as session:
            assert session.scalars(select(Project.raw_layer_days)).one() == 30
        assert CliRunner().invoke(cli.app, ["retention", "p", *url]).output.endswith("for ever\n")
        refusal = CliRunner().invoke(cli.app, ["retention", "q", "30", *url])
        assert (refusal.exit_code, "there is no project 'q'" in refusal.output) == (1, True)

    def test_of_a_project_that_there_is_not_is_refused(self, stream: StreamInTables):
        with (
            pytest.raises(NotFoundError, match="there is no project 'q'"),
            begin_write(stream.session_factory) as session,
        ):
            keep_raw_layers(session, "q", 30)
