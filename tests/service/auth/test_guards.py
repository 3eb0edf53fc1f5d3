"""What every request passes, and what every answer carries."""

import pytest
from service.speaking import ServiceUnderTest

from gradvitals_service.auth.guards import allowed_hosts, host_name
from gradvitals_service.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"])
def test_loopback_names_are_answered(service: ServiceUnderTest, host: str) -> None:
    assert service.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[", "0.0.0.0:8765"]
)
def test_a_foreign_host_is_refused(service: ServiceUnderTest, host: str) -> None:
    answer = service.client.get("/healthz", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]) == (421, "unknown_host")


def test_hosts_that_the_operator_names_are_answered() -> None:
    settings = Settings(allowed_hosts=("gpu.example",), public_url="https://gradvitals.example")
    assert {"gpu.example", "gradvitals.example", "127.0.0.1", "localhost"} <= allowed_hosts(settings)


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/nothing", "/api/v1/runs/abc"])
def test_every_answer_keeps_a_browser_strict(service: ServiceUnderTest, path: str) -> None:
    headers = service.client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy  # so that default-src holds for scripts: no inline, no foreign ones
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_refused_host_is_answered_with_the_same_strictness(service: ServiceUnderTest) -> None:
    assert "Content-Security-Policy" in service.client.get("/", headers={"Host": "evil.example"}).headers


def test_the_name_in_a_host_header_has_no_port_and_no_brackets() -> None:
    assert [host_name(header) for header in ("a:1", "[::1]:2", "b", "[", "a:b:c")] == ["a", "::1", "b", "", "a"]


def test_no_other_site_is_invited_to_read(service: ServiceUnderTest) -> None:
    answer = service.client.get("/healthz", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
