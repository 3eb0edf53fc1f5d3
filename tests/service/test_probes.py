"""Machines are told whether the process lives and whether it can serve."""

from service.speaking import ServiceUnderTest

from gradvitals_service import migrating


def test_a_service_that_can_serve_is_alive_and_ready(service: ServiceUnderTest) -> None:
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ok"}


def test_without_its_writer_it_is_alive_and_not_ready(service: ServiceUnderTest) -> None:
    service.app.state.writer.stop()
    assert service.client.get("/healthz").status_code == 200
    answer = service.client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the writer does not run")


def test_on_a_database_of_another_version_it_is_not_ready(service: ServiceUnderTest) -> None:
    migrating.downgrade(service.app.state.engine, "base")
    answer = service.client.get("/readyz")
    assert answer.status_code == 503
    assert "gradvitals-service migrate" in answer.json()["detail"]
