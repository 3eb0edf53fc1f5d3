"""The page's cookie: good for its service, for 30 days, and for nothing else."""

import pytest
from service.speaking import ServiceUnderTest

from gradvitals_service.auth.sessions import LIFETIME_SECONDS, Sessions

SOME_RUN = "/api/v1/runs/0199a3c2-7d10-7abc-8def-0123456789ab"


def test_a_cookie_is_good_until_it_expires() -> None:
    now = 1_790_000_000.0
    sessions = Sessions("gv_read", clock=lambda: now)
    cookie = sessions.make()
    now += LIFETIME_SECONDS - 1
    assert sessions.admits(cookie)
    now += 2
    assert not sessions.admits(cookie)


def test_a_cookie_outlives_a_restart_and_ends_with_the_read_token() -> None:
    cookie = Sessions("gv_read").make()
    assert Sessions("gv_read").admits(cookie)
    assert not Sessions("gv_another").admits(cookie)


@pytest.mark.parametrize("cookie", ["", ".", "gv_read", "99999999999.", "x.y", "99999999999.\udcff", "\udcff.\udcff"])
def test_what_was_not_made_here_is_refused(cookie: str) -> None:
    assert not Sessions("gv_read").admits(cookie)


def test_a_longer_life_cannot_be_written_into_a_cookie() -> None:
    until, _, signature = Sessions("gv_read").make().partition(".")
    assert not Sessions("gv_read").admits(f"{int(until) + 1}.{signature}")


def test_two_services_on_one_host_do_not_overwrite_each_others_cookie() -> None:
    assert Sessions("gv_one").cookie_name != Sessions("gv_other").cookie_name


def test_what_the_cookie_holds_is_no_token(service: ServiceUnderTest) -> None:
    session = service.app.state.sessions.make()
    assert service.client.get(SOME_RUN, headers={"Authorization": f"Bearer {session}"}).status_code == 401
