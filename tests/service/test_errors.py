"""Every way to fail has the one shape, and a fault tells nothing about itself."""

from typing import Any

from fastapi.testclient import TestClient
from service.speaking import ServiceUnderTest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


def failing_client(service: ServiceUnderTest, error: Exception) -> Any:
    def fail() -> None:
        raise error

    service.app.router.routes.insert(0, _route("/fails", fail))
    return TestClient(service.app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)


def _route(path: str, endpoint: Any) -> Any:
    from fastapi.routing import APIRoute

    return APIRoute(path, endpoint)


def test_an_unknown_path_of_the_api_is_404(service: ServiceUnderTest) -> None:
    answer = service.client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_another_method_is_405(service: ServiceUnderTest) -> None:
    answer = service.client.delete("/healthz")
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")


def test_a_query_that_cannot_be_is_422_with_the_parameters_name(service: ServiceUnderTest) -> None:
    answer = service.client.get("/api/v1/events", params={"limit": "many"}, headers=service.read)
    assert (answer.status_code, answer.json()["error"]) == (422, "malformed")
    assert answer.json()["detail"].startswith("query.limit: ")


def test_a_fault_of_ours_is_500_and_keeps_its_reason_to_the_log(service: ServiceUnderTest) -> None:
    answer = failing_client(service, RuntimeError("secret")).get("/fails")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "internal",
        "detail": "the service failed on this request; its log has the reason",
    }


def test_a_database_that_is_away_is_503_with_a_time_to_come_back(service: ServiceUnderTest) -> None:
    for error in (OperationalError("SELECT 1", {}, OSError("gone")), PoolTimeoutError("no connection")):
        answer = failing_client(service, error).get("/fails")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["error"] == "overloaded"
