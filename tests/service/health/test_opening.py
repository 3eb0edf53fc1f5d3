"""What an event says of its beginning, and what of it is brought up to date."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import select, update

from gradvitals_service.health.models import Event
from gradvitals_service.ingest.models import Stream

NAN: dict[str, Any] = {
    "global_norm": [math.nan],
    "layer_norms": [math.nan, 4.0],
    "flags": [3],
    "clip_coefficient": [math.nan],
}


def weights(*rows: tuple[int, float]) -> dict[str, bytes]:
    """The norms of both layers' weights, at these rows of a chunk."""
    values = np.array([[norm, norm] for _, norm in rows], "<f4")
    return {"rows": np.array([row for row, _ in rows], "<u4").tobytes(), "values": values.tobytes()}


def explode(run: Speaker, first: int, times: float = 1e5, **changes: Any) -> Any:
    """Three steps whose head is far above the rest; gives the event."""
    norms = [5.0 * times, 10.0 * times, 5.0 * times]
    layers = [norm for total in norms for norm in (3.0, total)]
    run.send(first, 3, **({"global_norm": norms, "layer_norms": layers} | changes))
    return newest(run)


def newest(run: Speaker) -> Any:
    return run.service.get(f"{run.path}/events")["events"][0]


class TestAnExplosion:
    def test_says_where_it_began_and_where_it_peaked(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 100)
        event = explode(run, 100)
        assert (event["start_step"], event["peak_step"], event["last_healthy_step"]) == (100, 101, 99)
        assert (event["first_layer"], event["layers"], event["shares"]) == ("head.weight", ["head.weight"], [1.0])

    def test_says_which_batch_it_was_and_guesses_at_it(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 100)
        details = [{"row": row, "non_finite": [], "batch_id": f"b-{17 + row}"} for row in range(3)]
        event = explode(run, 100, loss=[1e5, 1e6, 1e5], details=details)
        assert event["batch_id"] == "b-17"
        assert event["cause"].startswith("perhaps: the data of this step")
        assert event["action"].startswith("look at batch b-17")

    def test_says_what_to_resume_from(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 100)
        run.save(50, 80, 95)  # of the last one no step may be suspect: the alarm comes up to 12 steps late
        event = explode(run, 100)
        assert event["resume_from"] == {"path": "/checkpoints/80.pt", "step": 80}
        assert event["action"] == "lower the learning rate or max_norm, and resume from 80.pt"

    def test_says_from_before_which_step_to_resume_where_no_checkpoint_is_known(
        self, service: ServiceUnderTest
    ) -> None:
        run = service.declare_run()
        run.send(0, 100)
        event = explode(run, 100)
        assert event["resume_from"] is None
        assert event["action"].endswith("and resume from a checkpoint from before step 88")

    def test_without_anything_to_go_by_guesses_nothing(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 100, flags=[0] * 100)
        event = explode(run, 100, flags=[0] * 3)
        assert (event["cause"], event["action"]) == (None, None)


class TestANaN:
    def test_names_the_first_layer_in_backward_order_and_the_last_healthy_step(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 10)
        run.send(10, 1, **NAN)
        event = newest(run)
        assert (event["first_layer"], event["last_healthy_step"]) == ("encoder.weight", 9)
        assert (event["peak_step"], event["shares"], event["batch_id"]) == (None, None, None)

    @pytest.mark.parametrize(("norm", "finite", "status"), [(1.0, True, "resolved"), (math.nan, False, "open")])
    def test_says_whether_the_weights_are_finite_once_they_were_measured(
        self, service: ServiceUnderTest, norm: float, finite: bool, status: str
    ) -> None:
        run = service.declare_run()
        run.send(0, 10, param_norms=weights((0, 1.0)))
        run.send(10, 1, **NAN)
        run.send(11, 40)
        assert (newest(run)["weights_finite"], newest(run)["status"]) == (None, "open")
        run.send(51, 20, param_norms=weights((13, norm)))
        assert (newest(run)["weights_finite"], newest(run)["status"]) == (finite, status)

    def test_on_one_rank_alone_is_guessed_to_be_its_data(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        other.launch = run.launch
        for rank, speaker in enumerate((run, other)):
            speaker.heartbeat(rank=rank, world_size=2)
        run.send(0, 10)
        run.send(10, 1, **NAN)
        assert "rank" not in newest(run)["cause"]
        details = [{"row": 0, "non_finite": [], "batch_id": "b-17"}]
        other.send(0, 1, **(NAN | {"step": [10], "loss": [math.nan], "details": details}))
        event = newest(run)
        assert event["cause"] == "perhaps: the data or the machine of rank 1, where alone it was not finite"
        assert event["action"].startswith("look at batch b-17 of rank 1, and resume from")


def test_json_frames_may_name_their_batch(service: ServiceUnderTest) -> None:
    run = Speaker(service, service.declare_run().run_id)
    frames = [{"step": step, "global_norm": 1.0} for step in range(3)]
    frames.append({"step": 3, "global_norm": "NaN", "batch_id": "b-17"})
    assert run.send_json({"project": "gru-lm", "frames": frames}).status_code == 200
    assert newest(run)["batch_id"] == "b-17"


class TestAnUpgradeOfTheDetectors:
    """It reads no state of another version, and judges the stream anew from its frames."""

    def older(self, run: Speaker) -> None:
        """As if all of it had been done by detectors of version 0, which called an event by another first frame."""
        run.service.app.state.writer.stop()
        with run.service.app.state.session_factory.begin() as session:
            session.execute(update(Event).values(detector_version=0))
            session.execute(update(Event).where(Event.status == "open").values(start_frame=Event.start_frame - 1))
            session.execute(update(Stream).values(detector_state=b"of version 0"))

    def rows(self, service: ServiceUnderTest) -> list[dict[str, Any]]:
        with service.app.state.session_factory.begin() as session:
            events = session.scalars(select(Event).order_by(Event.start_frame)).all()
            return [
                {column.name: getattr(event, column.name) for column in Event.__table__.columns} for event in events
            ]

    def test_leaves_an_event_that_is_closed_as_it_was(self, make_service: Callable[..., ServiceUnderTest]) -> None:
        run = make_service().declare_run()
        run.send(0, 100)
        explode(run, 100)
        run.send(103, 150)
        assert newest(run)["status"] == "resolved"
        self.older(run)
        before = self.rows(run.service)
        run.service = make_service()
        run.send(253, 300)
        assert self.rows(run.service) == before

    def test_resolves_one_that_is_open_where_the_newer_see_nothing(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        run = make_service().declare_run()
        run.send(0, 100)
        explode(run, 100)
        run.service.app.state.writer.stop()
        with run.service.app.state.session_factory.begin() as session:
            session.execute(update(Event).values(detector_version=0, kind="vanishing"))
        run.service = make_service()
        revision = run.send(103, 1)["event_revision"]
        event = newest(run)
        assert (event["status"], event["end_step"], event["revision"]) == ("resolved", 103, revision)
        assert event["message"].endswith("; the detectors were upgraded since, and see nothing of it")

    def test_goes_on_with_one_that_is_open_under_its_own_id(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        run = make_service().declare_run()
        run.send(0, 100)
        explode(run, 100)
        self.older(run)
        (before,) = self.rows(run.service)
        run.service = make_service()
        run.send(103, 150)
        (after,) = self.rows(run.service)
        assert (after["event_id"], after["detector_version"]) == (before["event_id"], 0)
        assert (before["status"], after["status"], after["end_step"]) == ("open", "resolved", 102)
