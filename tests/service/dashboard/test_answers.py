"""What the reading API answers is what OpenAPI says: the page's types are made from that."""

from typing import Any

import pytest
from pydantic import BaseModel
from service.dashboard.open_page import OpenPage, listening
from service.speaking import ServiceUnderTest, Speaker

from gradvitals_service.checkpoints.schemas import CheckpointList
from gradvitals_service.dashboard.schemas import DashboardRead, FacetsRead, GroupsRead, LiveFrames
from gradvitals_service.health.advice_schemas import AdviceRead
from gradvitals_service.health.inbox_schemas import InboxRead
from gradvitals_service.health.schemas import EventList, EvidenceRead, NamedEvent
from gradvitals_service.projects.schemas import DetectionRead
from gradvitals_service.runs.schemas import RunLive, RunRead
from gradvitals_service.series.schemas import HeatmapRead, LayersRead, ScalarsRead, SeriesRead

NAN = float("nan")
PARAMETERS = {  # which the answer depends on
    "/api/v1/dashboard/groups": {"by": "tag"},
    "/api/v1/runs/{run_id}/layers/series": {"layer": "head.weight"},
}
ANSWERS: dict[str, type[BaseModel]] = {
    "/api/v1/dashboard": DashboardRead,
    "/api/v1/dashboard/facets": FacetsRead,
    "/api/v1/dashboard/groups": GroupsRead,
    "/api/v1/events": InboxRead,
    "/api/v1/runs/{run_id}": RunRead,
    "/api/v1/runs/{run_id}/series": SeriesRead,
    "/api/v1/runs/{run_id}/scalars": ScalarsRead,
    "/api/v1/runs/{run_id}/layers": LayersRead,
    "/api/v1/runs/{run_id}/layers/heatmap": HeatmapRead,
    "/api/v1/runs/{run_id}/layers/series": SeriesRead,
    "/api/v1/runs/{run_id}/advice": AdviceRead,
    "/api/v1/runs/{run_id}/events": EventList,
    "/api/v1/runs/{run_id}/events/{event_id}/evidence": EvidenceRead,
    "/api/v1/runs/{run_id}/checkpoints": CheckpointList,
    "/api/v1/projects/{project}/detection": DetectionRead,
}


def fields(value: Any) -> Any:
    """The names of all fields, at every depth."""
    if isinstance(value, dict):
        return {name: fields(held) for name, held in value.items()}
    return [fields(held) for held in value] if isinstance(value, list) else None


def assert_is(model: type[BaseModel], answer: Any) -> None:
    """The answer fits the model, and has exactly its fields."""
    assert fields(model.model_validate(answer).model_dump(mode="json")) == fields(answer)


@pytest.fixture
def run(service: ServiceUnderTest) -> Speaker:
    """A run with a bit of everything: finite and not, lost frames, an open event that was acknowledged, checkpoints."""
    run = service.declare_run()
    run.heartbeat(monitors={"main": {"made": 5, "norm_type": "Infinity", "max_norm": 1.0}})
    run.send(0, 2)
    lost = [{"first": 2, "n": 1, "reason": "quota", "first_step": None, "last_step": None}]
    run.send(3, 2, lost=lost, global_norm=[5.0, NAN], layer_norms=[3.0, 4.0, NAN, 4.0], flags=[2, 1])
    run.save(2, 5, steps={"main": 2})
    (event,) = service.get(f"{run.path}/events")["events"]
    path = f"{run.path}/events/{event['event_id']}/acknowledgement"
    assert service.client.put(path, json={"note": "seen"}, headers=service.read).status_code == 200
    return run


class TestAnswers:
    def test_are_of_the_declared_shape(self, service: ServiceUnderTest, run: Speaker):
        (event_id,) = [event["event_id"] for event in service.get(f"{run.path}/events")["events"]]
        for path, model in ANSWERS.items():
            made = path.format(run_id=run.run_id, event_id=event_id, project="gru-lm")
            assert_is(model, service.get(made, **PARAMETERS.get(path, {})))

    def test_are_all_declared(self, service: ServiceUnderTest):
        paths = service.app.openapi()["paths"]
        for path, model in ANSWERS.items():
            content = paths[path]["get"]["responses"]["200"]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith(f"/{model.__name__}")

    def test_of_the_live_stream_are_too(self, service: ServiceUnderTest, run: Speaker):
        models = {"run": RunLive, "event": NamedEvent, "frames": LiveFrames}
        with listening(service) as port:
            page = OpenPage(port, service.read, str(run.run_id))
            run.send(5, 200)
            seen = set()
            while seen != set(models):
                name, data = page.next()
                if name in models:
                    assert_is(models[name], data)
                    seen.add(name)
            service.app.state.hub.close()
            page.close()


def test_every_reading_route_is_among_them(service: ServiceUnderTest):
    paths = service.app.openapi()["paths"]
    reading = {path for path, methods in paths.items() if path.startswith("/api/v1") and "get" in methods}
    not_json = {"/api/v1/live", "/api/v1/runs/{run_id}/export", "/api/v1/runs/{run_id}/chart.png"}
    assert reading == set(ANSWERS) | not_json
