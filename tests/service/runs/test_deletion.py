"""A deleted run is gone at once for people and programs, and then from every table."""

from uuid import uuid4

import pytest
from service.series.storing import NOW
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import func, select

from gradvitals_service.alerts.models import Delivery
from gradvitals_service.database import Base, begin_write
from gradvitals_service.runs.deletion import ROWS_AT_ONCE, Remover
from gradvitals_service.series.models import Chunk, Segment

NAN = float("nan")


@pytest.fixture
def quiet(make_service) -> ServiceUnderTest:
    """A service whose background does nothing, so that each step can be seen."""
    service = make_service()
    for chore in service.app.state.chores:
        chore.close()
    return service


def delete(run: Speaker) -> int:
    answer = run.service.client.delete(run.path, headers=run.service.read)
    return int(answer.status_code)


def remover(service: ServiceUnderTest) -> Remover:
    return Remover(service.app.state.session_factory, service.app.state.writer)


def rows_of(service: ServiceUnderTest, run: Speaker) -> dict[str, int]:
    """How many rows each table has about a run."""
    with service.app.state.session_factory.begin() as session:
        counts = {
            table.name: session.scalar(select(func.count()).select_from(table).where(table.c.run_id == run.run_id))
            for table in Base.metadata.tables.values()
            if "run_id" in table.c
        }
    return {name: count for name, count in counts.items() if count}


def a_run_with_everything(service: ServiceUnderTest) -> Speaker:
    """Chunks, a segment with its buckets, a gap, an event and a checkpoint."""
    run = service.declare_run()
    run.send(0, 1100)
    compactor = service.app.state.chores[0]
    run.heartbeat(state="finished", monitors={"main": {"made": 1100, "spooled": 0, "lost": 0}})
    compactor._closing.clear()
    compactor.work()
    run.send(1110, 5, lost=[{"first": 1100, "n": 10, "reason": "quota", "first_step": 1100, "last_step": 1109}])
    run.send(1115, 1, global_norm=[NAN], layer_norms=[3.0, NAN], flags=[3])
    run.save(500)
    return run


class TestDeletion:
    def test_hides_a_run_at_once(self, quiet: ServiceUnderTest):
        run, other = a_run_with_everything(quiet), quiet.declare_run(name="other")
        assert delete(run) == 204
        for path in ("", "/series", "/layers", "/layers/heatmap", "/export", "/advice", "/events", "/checkpoints"):
            assert quiet.client.get(run.path + path, headers=quiet.read).status_code == 404, path
        dashboard = quiet.get("/api/v1/dashboard")
        assert [shown["name"] for shown in dashboard["runs"]] == ["other"]
        assert dashboard["events"] == []
        assert quiet.get(other.path)["name"] == "other"
        assert delete(run) == 404

    def test_leaves_no_row_in_any_table(self, quiet: ServiceUnderTest):
        run, other = a_run_with_everything(quiet), a_run_with_everything(quiet)
        assert {"chunks", "segments", "segment_columns", "rollups", "compactions", "gaps", "events"} <= set(
            rows_of(quiet, run)
        )
        before = rows_of(quiet, other)
        delete(run)
        assert remover(quiet).work() == 1
        assert rows_of(quiet, run) == {}
        assert rows_of(quiet, other) == before

    def test_takes_a_few_rows_at_a_time_so_that_others_are_written_in_between(
        self, quiet: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
    ):
        run, other = quiet.declare_run(), quiet.declare_run()
        for first in range(20):
            run.send(first, 1)
        monkeypatch.setitem(ROWS_AT_ONCE, Chunk, 3)
        delete(run)
        writer, most = quiet.app.state.writer, []

        class Watching:
            def submit(self, item):
                before = rows_of(quiet, run).get("chunks", 0)
                future = writer.submit(item)
                future.result(30)
                most.append(before - rows_of(quiet, run).get("chunks", 0))
                return future

        Remover(quiet.app.state.session_factory, Watching()).work()
        assert max(most) == 3
        other.send(0, 1)
        assert rows_of(quiet, run) == {}

    def test_that_was_interrupted_is_finished_by_the_next_service(self, quiet: ServiceUnderTest):
        run = a_run_with_everything(quiet)
        delete(run)

        class Dying:
            left = 2

            def submit(self, item):
                if not self.left:
                    raise KeyboardInterrupt
                self.left -= 1
                return quiet.app.state.writer.submit(item)

        with pytest.raises(KeyboardInterrupt):
            Remover(quiet.app.state.session_factory, Dying()).work()
        assert rows_of(quiet, run) != {}
        assert remover(quiet).work() == 1
        assert rows_of(quiet, run) == {}

    def test_of_a_run_that_goes_on_lets_it_come_back_anew(self, quiet: ServiceUnderTest):
        run = quiet.declare_run()
        run.send(0, 10)
        delete(run)
        assert run.post(run.chunk(10, 5)).status_code == 404  # declare again, then send
        body = {"project": "gru-lm", "name": "again"}
        refusal = quiet.client.put(run.path, headers=quiet.ingest, json=body)
        assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
        remover(quiet).work()
        run.declare_run(name="again")
        run.heartbeat()
        run.declare_layout()
        assert run.send(0, 15)["next"] == 15
        assert quiet.get(f"{run.path}/series")["frames"] == 15

    def test_forgets_alerts_that_were_not_sent(self, quiet: ServiceUnderTest):
        run = quiet.declare_run()
        with begin_write(quiet.app.state.session_factory) as session:
            texts = {"channel": "c", "title": "t", "body": "b", "state": "due", "tries": 0}
            session.add(
                Delivery(delivery_id=uuid4(), run_id=run.run_id, event_id=uuid4(), due_at=NOW, created_at=NOW, **texts)
            )
        delete(run)
        assert "deliveries" not in rows_of(quiet, run)

    def test_is_not_for_a_training_job(self, quiet: ServiceUnderTest):
        run = quiet.declare_run()
        assert quiet.client.delete(run.path, headers=quiet.ingest).status_code == 403
        assert quiet.client.delete(f"/api/v1/runs/{uuid4()}", headers=quiet.read).status_code == 404
        with quiet.app.state.session_factory.begin() as session:
            assert session.scalars(select(Segment)).all() == []
