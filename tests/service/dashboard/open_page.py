"""An open page: a real server on loopback, and a reader of its server-sent events."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from service.speaking import ServiceUnderTest

TIMEOUT_SECONDS = 10.0


@contextmanager
def listening(service: ServiceUnderTest) -> Iterator[int]:
    """Serve the running app on a free port, since the test client gives no answer before it is complete."""
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, lifespan="off", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and server.servers):
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        service.app.state.hub.close()
        thread.join(TIMEOUT_SECONDS)
        assert not thread.is_alive(), "the server waits for an open stream"


class OpenPage:
    """One open stream; reading blocks until something comes."""

    def __init__(self, port: int, headers: dict[str, str], runs: str = "", since: float = 0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._connection.request("GET", f"/api/v1/live?runs={runs}&since={since}", headers=headers)
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.read()

    def next(self) -> tuple[str, Any] | None:
        """The next event's name and data; None at the end of the stream. Comments are ``("", text)``."""
        name, data = "", ""
        while line := self.answer.readline().decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "" and value:
                data = json.dumps(value)
            elif not line.strip():
                return name, json.loads(data)
        return None

    def until(self, name: str) -> Any:
        """The data of the next event of that name."""
        while found := self.next():
            if found[0] == name:
                return found[1]
        raise AssertionError(f"the stream ended without a {name}")

    def close(self) -> None:
        """Leave, as a browser does that closes the tab."""
        self.answer.close()
        self._connection.close()
