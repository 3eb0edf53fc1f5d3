"""Parse HTTP in C, with headers that have an end.

httptools takes a third of the time of the parser in Python, but keeps no bound of its own. Whatever is sent without
getting anywhere (headers, their continuation, trailers, the sizes of chunks) is counted here until a body's bytes or
the end of the request arrive.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES_OF_HEADERS = 16 * 1024


class BoundedHttp(HttpToolsProtocol):
    """One connection; what it sends beside bodies is cut off at 16 KiB without progress."""

    _since_progress = 0

    def data_received(self, data: bytes) -> None:
        """Parse what has come; a peer whose headers do not end is told so and hung up on."""
        self._since_progress += len(data)
        super().data_received(data)
        if self._since_progress > MOST_BYTES_OF_HEADERS and not self.transport.is_closing():
            self.send_400_response("Headers too large.")

    def on_body(self, body: bytes) -> None:
        """Bytes of a body are bounded elsewhere."""
        self._since_progress = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._since_progress = 0
        super().on_message_complete()
