"""One-time links and pasted tokens become a cookie that may read."""

from uuid import uuid4

import pytest
from service.speaking import READ_TOKEN, ServiceUnderTest

from gradvitals_service.auth.login import CODE_LIFETIME_SECONDS, MOST_CODES, LoginCodes

SOME_RUN = f"/api/v1/runs/{uuid4()}"


def login_path(service: ServiceUnderTest) -> str:
    answer = service.client.post("/api/v1/login-codes", headers=service.read)
    assert answer.status_code == 201, answer.text
    url = answer.json()["url"]
    assert url.startswith("http://127.0.0.1:8765/login?code=")
    return url.removeprefix("http://127.0.0.1:8765")


def test_a_link_opens_the_page_once(service: ServiceUnderTest) -> None:
    path = login_path(service)
    answer = service.client.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("gradvitals_session_")
    assert READ_TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    service.client.cookies.clear()
    spent = service.client.get(path)
    assert "Set-Cookie" not in spent.headers
    assert service.client.get(SOME_RUN).status_code == 401


def test_a_spent_link_leads_home_where_it_was_used(service: ServiceUnderTest) -> None:
    path = login_path(service)
    service.client.get(path)
    again = service.client.get(path)
    assert (again.status_code, again.headers["Location"]) == (303, "/")


def test_the_cookie_reads_as_the_token_does(service: ServiceUnderTest) -> None:
    assert service.client.get(SOME_RUN).status_code == 401
    service.client.get(login_path(service))
    assert service.client.get(SOME_RUN).status_code == 404  # let in, and there is no such run


def test_the_cookie_can_neither_send_nor_make_links(service: ServiceUnderTest) -> None:
    service.client.get(login_path(service))
    assert service.client.put(SOME_RUN, json={"project": "p", "name": "n"}).status_code == 401
    assert service.client.post("/api/v1/login-codes").status_code == 403


def test_a_pasted_token_becomes_the_cookie(service: ServiceUnderTest) -> None:
    assert service.client.post("/login", json={"token": READ_TOKEN}).status_code == 204
    assert service.client.get(SOME_RUN).status_code == 404


@pytest.mark.parametrize("token", ["", "gv_wrong", "gv_ingest_token_of_the_tests"])
def test_another_token_does_not(service: ServiceUnderTest, token: str) -> None:
    answer = service.client.post("/login", json={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_another_sites_page_can_neither_log_in_nor_out(service: ServiceUnderTest, path: str) -> None:
    headers = {"Origin": "https://evil.example"}
    assert service.client.post(path, json={"token": READ_TOKEN}, headers=headers).status_code == 403
    own = {"Origin": "http://127.0.0.1:8765"}
    assert service.client.post(path, json={"token": READ_TOKEN}, headers=own).status_code == 204


def test_logging_out_takes_the_cookie_back(service: ServiceUnderTest) -> None:
    service.client.post("/login", json={"token": READ_TOKEN})
    service.client.post("/logout")
    assert service.client.get(SOME_RUN).status_code == 401


class TestLoginCodes:
    """The codes themselves, by a clock that the test moves."""

    def test_a_code_is_good_once(self) -> None:
        codes = LoginCodes()
        code = codes.make()
        assert (codes.use(code), codes.use(code), codes.use("other")) == (True, False, False)

    def test_a_code_is_good_for_a_day(self) -> None:
        now = 0.0
        codes = LoginCodes(clock=lambda: now)
        early, late = codes.make(), codes.make()
        now = CODE_LIFETIME_SECONDS - 1
        assert codes.use(early)
        now = CODE_LIFETIME_SECONDS + 1
        assert not codes.use(late)

    def test_the_oldest_of_too_many_codes_is_given_up(self) -> None:
        codes = LoginCodes()
        made = [codes.make() for _ in range(MOST_CODES + 1)]
        assert (codes.use(made[0]), codes.use(made[1]), codes.use(made[-1])) == (False, True, True)
