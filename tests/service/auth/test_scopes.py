"""Every route says who may use it, and nobody else may."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from service.speaking import ServiceUnderTest

from gradvitals_service.auth.scopes import SCOPES, public, require_ingest, require_read

UUID_IN_PATHS = "0199a3c2-7d10-7abc-8def-0123456789ab"


def dependencies(dependant: Dependant) -> Iterator[Any]:
    for needed in dependant.dependencies:
        yield needed.call
        yield from dependencies(needed)


def scopes_of(route: RouteContext) -> list[Any]:
    assert route.dependant is not None, route.path
    return [call for call in dependencies(route.dependant) if call in SCOPES]


def routes_of(service: ServiceUnderTest) -> list[RouteContext]:
    return list(iter_route_contexts(service.app.routes))


def test_every_route_declares_exactly_one_scope(service: ServiceUnderTest) -> None:
    scopes = {f"{route.methods} {route.path}": scopes_of(route) for route in routes_of(service)}
    assert len(scopes) > 10
    assert [name for name, found in scopes.items() if len(found) != 1] == []


def test_what_is_public_is_known_by_name(service: ServiceUnderTest) -> None:
    found = {route.path for route in routes_of(service) if public in scopes_of(route)}
    assert found == {"/healthz", "/readyz", "/login", "/logout", "/{path:path}"}


@pytest.mark.parametrize("token", ["none", "wrong", "ingest", "read", "empty", "basic"])
def test_no_route_lets_another_token_pass(service: ServiceUnderTest, token: str) -> None:
    headers: dict[str, dict[str, str]] = {
        "none": {},
        "wrong": {"Authorization": "Bearer gv_wrong"},
        "empty": {"Authorization": "Bearer "},
        "basic": {"Authorization": "Basic " + service.read["Authorization"].split()[1]},
        "ingest": service.ingest,
        "read": service.read,
    }
    rightful = {"ingest": require_ingest, "read": require_read}.get(token)
    tried = 0
    for route in routes_of(service):
        (scope,) = scopes_of(route)
        if scope is public or scope is rightful:
            continue
        path = route.path
        for parameter in route.param_convertors:
            path = path.replace(f"{{{parameter}}}", UUID_IN_PATHS)
        for method in route.methods:
            answer = service.client.request(method, path, headers=headers[token])
            assert answer.status_code in (401, 403), (method, path, answer.text)
            assert answer.json()["error"] in ("unauthorized", "forbidden")
            tried += 1
    assert tried >= 5


def test_an_ingest_token_cannot_read_and_is_told_so(service: ServiceUnderTest) -> None:
    answer = service.client.get(f"/api/v1/runs/{UUID_IN_PATHS}", headers=service.ingest)
    assert (answer.status_code, answer.json()["detail"]) == (403, "an ingest token may send and not read")


def test_a_read_token_cannot_send(service: ServiceUnderTest) -> None:
    body = {"project": "p", "name": "n"}
    assert service.client.put(f"/api/v1/runs/{UUID_IN_PATHS}", headers=service.read, json=body).status_code == 401


def test_a_token_with_strange_bytes_is_refused_and_not_a_fault(service: ServiceUnderTest) -> None:
    answer = service.client.get(f"/api/v1/runs/{UUID_IN_PATHS}", headers={"Authorization": b"Bearer \xff\xfe"})
    assert answer.status_code == 401
