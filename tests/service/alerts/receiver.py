"""A channel's other end: an HTTP server on loopback that answers as it is told."""

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Gives the statuses in turn, the last one for ever, and keeps what it received."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self.received: queue.Queue[dict[str, Any]] = queue.Queue()
        self.release = threading.Event()  # a status of 0 hangs until this is set
        self._statuses = list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = receiver._next_status()
                receiver.received.put(body | {"answered": status, "path": self.path})
                if status == 0:
                    receiver.release.wait(30)
                    return
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_port}/s3cretpath"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])

    def _next_status(self) -> int:
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Serve until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self.release.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
