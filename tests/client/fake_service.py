"""A service on a real loopback socket: it stores as MemoryTransport does and misbehaves on command."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from gradvitals import MemoryTransport, NotDeclaredError, OutOfOrderError

TOKEN = "gv_test"


@dataclass
class Scripted:
    """An answer to give instead of the right one."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class FakeService:
    """``store`` holds what arrived. While ``hanging`` is set, requests are read and not answered."""

    def __init__(self, port: int = 0, store: MemoryTransport | None = None) -> None:
        self.store = store or MemoryTransport()
        self.scripted: deque[Scripted] = deque()
        self.always: Scripted | None = None
        self.date: str | None = None  # what it says the time is
        self.hanging = threading.Event()
        self.asked = threading.Event()  # set by every request
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer_next(self, *answers: Scripted) -> None:
        self.scripted.extend(answers)

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_PUT(self) -> None:
                self._handle()

            def do_POST(self) -> None:
                self._handle()

            def do_GET(self) -> None:
                self._handle()

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.requests.append((self.command, self.path, dict(self.headers.items())))
                service.asked.set()
                if service.hanging.is_set():
                    service._released.wait(30)
                    self.close_connection = True
                    return
                answer = service.scripted.popleft() if service.scripted else service.always
                self._write(answer or service.answer(self.command, self.path, dict(self.headers.items()), body))

            def _write(self, answer: Scripted) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return service.date or super().date_time_string(timestamp)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Scripted:
        """The right answer."""
        if path == "/healthz":
            return Scripted(200, b'{"status": "ok"}')
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return Scripted(401, b'{"error": "unauthorized", "detail": "the token is not known here"}')
        parts = path.removeprefix("/api/v1/runs/").split("/")
        try:
            if method == "PUT" and len(parts) == 1:
                answer: object = self.store.declare_run(parts[0], msgspec.json.decode(body))
            elif method == "PUT" and parts[1] == "attempts":
                answer = self.store.declare_attempt(parts[0], parts[2], msgspec.json.decode(body))
            elif method == "PUT" and parts[1] == "layouts":
                answer = self.store.declare_layout(parts[0], parts[2], msgspec.json.decode(body))
            elif parts[1] == "checkpoints":
                answer = self.store.declare_checkpoints(parts[0], msgspec.json.decode(body))
            elif msgspec.msgpack.decode(body)["v"] != 1:
                return Scripted(415, b'{"error": "unsupported", "detail": "v is not 1", "wire_versions": [1]}')
            else:
                answer = self.store.send_chunk(parts[0], body)
        except OutOfOrderError as error:
            said = {"error": "out_of_order", "detail": str(error), "next": error.next}
            return Scripted(409, msgspec.json.encode(said))
        except NotDeclaredError as error:
            return Scripted(404, msgspec.json.encode({"error": "not_found", "detail": str(error)}))
        return Scripted(200, msgspec.json.encode(answer))


@contextmanager
def running_service(port: int = 0, store: MemoryTransport | None = None) -> Iterator[FakeService]:
    """A fake service for the time of a test."""
    service = FakeService(port, store)
    try:
        yield service
    finally:
        service.stop()
