"""Where frames go now, when services appear, restart and move."""

from __future__ import annotations

from gradvitals import MemoryTransport
from gradvitals.route import FixedRoute, OfflineRoute, SearchedRoute
from gradvitals.settings import Destination

HERE = Destination("http://here", "gv_1")
HERE_AGAIN = Destination("http://here", "gv_2")  # restarted with another token


class Searched:
    """A route whose search and clock a test moves."""

    def __init__(self, found: Destination | None) -> None:
        self.found = found
        self.now = 0.0
        self.opened: list[Destination] = []
        self.route = SearchedRoute(lambda: self.found, self.open, clock=lambda: self.now)

    def open(self, destination: Destination) -> MemoryTransport:
        self.opened.append(destination)
        return MemoryTransport()


def test_a_known_service_is_used_at_once_and_kept():
    searched = Searched(HERE)
    assert searched.route.url == "http://here"
    assert searched.route.current() is searched.route.current()
    assert searched.opened == [HERE]


def test_a_service_that_appears_is_found_at_the_next_look():
    searched = Searched(None)
    assert searched.route.current() is None
    searched.found = HERE
    assert searched.route.current() is not None
    assert searched.route.url == "http://here"


def test_a_service_that_restarted_with_another_token_gets_a_new_transport():
    searched = Searched(HERE)
    first = searched.route.current()
    searched.found, searched.now = HERE_AGAIN, 5.0
    assert searched.route.current() is not first
    assert first.closed
    assert searched.opened == [HERE, HERE_AGAIN]


def test_a_service_that_stopped_is_still_tried_where_it_was():
    searched = Searched(HERE)
    first = searched.route.current()
    searched.found, searched.now = None, 5.0
    assert searched.route.current() is first


def test_a_fixed_route_is_its_transport():
    transport = MemoryTransport()
    assert (FixedRoute(transport).current(), FixedRoute(transport).url) == (transport, None)


def test_offline_is_nowhere():
    assert (OfflineRoute().current(), OfflineRoute().url) == (None, None)


def test_a_closed_route_has_let_go_of_its_own_connection_but_of_nobody_elses():
    searched, given = Searched(HERE), MemoryTransport()
    connection = searched.route.current()
    searched.route.close()
    FixedRoute(given).close()
    assert (connection.closed, given.closed) == (True, False)
    assert searched.route.url == "http://here"
