"""Carry declarations and chunks to a service, and say in our errors what became of them.

``Transport`` is what the sender speaks to: HTTPTransport here, MemoryTransport in tests. A transport knows what one
answer means, and nothing of retries, back-off or what is sent next. It never logs or repeats a token.
"""

from __future__ import annotations

import email.utils
import ipaddress
import os
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.util import Retry, Timeout, make_headers

from gradvitals._version import __version__
from gradvitals.errors import (
    ChunkRefusedError,
    NotDeclaredError,
    OutOfOrderError,
    SendingStoppedError,
    ServiceUnavailableError,
)
from gradvitals.frames import WIRE_VERSIONS
from gradvitals.giving_way import give_way

JSON = "application/json"
CHUNK = "application/vnd.gradvitals.chunk+msgpack"
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
ANSWER_SECONDS = 30.0  # for the whole answer, since the read timeout starts anew with every byte
ANSWER_BYTES = 4 << 20
_NEVER = Retry(False)  # urllib3 tries nothing again; whether to is decided here
LONGEST_RETRY_AFTER_SECONDS = 120.0


class Event(msgspec.Struct, frozen=True):
    """What the client needs of an event that the service reports."""

    event_id: str
    kind: str
    severity: str
    start_step: int | None
    message: str
    revision: int
    monitor: str = "main"
    cause: str | None = None  # a guess, which says that it is one


class RunAnswer(msgspec.Struct, frozen=True):
    """The answer to a run's declaration."""

    wire_versions: list[int]


class AttemptAnswer(msgspec.Struct, frozen=True):
    """The answer to an attempt's declaration and to each heartbeat."""

    event_revision: int
    events: list[Event]
    state: str = "running"


class LayoutAnswer(msgspec.Struct, frozen=True):
    """The answer to a layout's declaration."""

    layout_id: str


class ChunkAnswer(msgspec.Struct, frozen=True):
    """The acknowledgement of a chunk: committed to disk, up to ``next`` frames of its stream."""

    next: int
    event_revision: int


class CheckpointPlace(msgspec.Struct, frozen=True):
    """Where a checkpoint lies, as the client told it."""

    path: str
    step: int


class CheckpointsAnswer(msgspec.Struct, frozen=True):
    """The answer to what was told of checkpoints: the newest that the service holds for clean."""

    newest_clean: CheckpointPlace | None


class Transport(Protocol):
    """A way to a service. Every method raises a DeliveryError for what did not arrive, and may block for a while."""

    @property
    def url(self) -> str | None:
        """Where a person can look at what was sent, if there is such a place."""

    def declare_run(self, run_id: str, body: Mapping[str, Any]) -> RunAnswer: ...

    def declare_attempt(self, run_id: str, attempt_id: str, body: Mapping[str, Any]) -> AttemptAnswer: ...

    def declare_layout(self, run_id: str, layout_id: str, body: Mapping[str, Any]) -> LayoutAnswer: ...

    def send_chunk(self, run_id: str, body: bytes | bytearray) -> ChunkAnswer: ...

    def declare_checkpoints(self, run_id: str, body: Mapping[str, Any]) -> CheckpointsAnswer: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever it says."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Refusal(msgspec.Struct, frozen=True):
    """The body of an error; everything is optional, since a proxy's error page looks different."""

    error: str = ""
    detail: str = ""
    next: int | None = None
    wire_versions: list[int] | None = None


_Body = TypeVar("_Body", RunAnswer, AttemptAnswer, LayoutAnswer, ChunkAnswer, CheckpointsAnswer)


class HTTPTransport:
    """The service at ``url``, over one kept connection. Proxies and CA bundles are those of the environment."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"User-Agent": f"gradvitals/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout = Timeout(connect=connect_seconds, read=read_seconds)
        self._pools = _open_pools(self._url)
        self._send: Callable[..., urllib3.BaseHTTPResponse] = self._pools.urlopen
        self._prefix = self._url
        if not isinstance(self._pools, urllib3.ProxyManager):  # there is one pool: to look it up costs a quarter more
            self._send, self._prefix = self._pools.connection_from_url(self._url).urlopen, urlsplit(self._url).path

    def __repr__(self) -> str:
        return f"HTTPTransport({self._url!r})"

    @property
    def url(self) -> str:
        """Where the service listens."""
        return self._url

    def declare_run(self, run_id: str, body: Mapping[str, Any]) -> RunAnswer:
        return self._put(f"/runs/{run_id}", body, RunAnswer)

    def declare_attempt(self, run_id: str, attempt_id: str, body: Mapping[str, Any]) -> AttemptAnswer:
        return self._put(f"/runs/{run_id}/attempts/{attempt_id}", body, AttemptAnswer)

    def declare_layout(self, run_id: str, layout_id: str, body: Mapping[str, Any]) -> LayoutAnswer:
        return self._put(f"/runs/{run_id}/layouts/{layout_id}", body, LayoutAnswer)

    def send_chunk(self, run_id: str, body: bytes | bytearray) -> ChunkAnswer:
        return self._understand(self.request("POST", f"/api/v1/runs/{run_id}/chunks", body, CHUNK), ChunkAnswer)

    def declare_checkpoints(self, run_id: str, body: Mapping[str, Any]) -> CheckpointsAnswer:
        path = f"/api/v1/runs/{run_id}/checkpoints"
        return self._understand(self.request("POST", path, msgspec.json.encode(body)), CheckpointsAnswer)

    def close(self) -> None:
        self._pools.clear()

    def request(self, method: str, path: str, body: bytes | bytearray = b"", content_type: str = JSON) -> Answer:
        """Send one request and read its answer; raises ServiceUnavailableError when there is none."""
        try:
            return self._exchange(method, path, body, content_type)
        except urllib3.exceptions.ProtocolError:
            # Mostly a kept connection that the service closed meanwhile. Every request of ours may be repeated.
            pass
        except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            raise ServiceUnavailableError(f"{self._url} does not answer: {_reason(error)}") from error
        try:
            return self._exchange(method, path, body, content_type)
        except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            raise ServiceUnavailableError(f"{self._url} does not answer: {_reason(error)}") from error

    def _exchange(self, method: str, path: str, body: bytes | bytearray, content_type: str) -> Answer:
        give_way()
        response = self._send(
            method,
            self._prefix + path,
            body=body or None,
            headers={**self._headers, "Content-Type": content_type},
            timeout=self._timeout,
            retries=_NEVER,
            redirect=False,  # a token is never carried to another address
            preload_content=False,
        )
        give_way()
        finished = False
        try:
            deadline = time.monotonic() + ANSWER_SECONDS
            data = bytearray()
            while piece := response.read1(65_536):
                data += piece
                if len(data) > ANSWER_BYTES or time.monotonic() > deadline:
                    raise urllib3.exceptions.HTTPError("its answer is too long or too slow")
            finished = True
            give_way()
            return Answer(response.status, dict(response.headers.items()), bytes(data))
        finally:
            if finished:
                response.release_conn()
            else:
                response.close()

    def _put(self, path: str, body: Mapping[str, Any], kind: type[_Body]) -> _Body:
        return self._understand(self.request("PUT", "/api/v1" + path, msgspec.json.encode(body)), kind)

    def _understand(self, answer: Answer, kind: type[_Body]) -> _Body:
        if answer.status == 200:
            try:
                return msgspec.json.decode(answer.body, type=kind)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                raise ServiceUnavailableError(
                    f"what answers at {self._url} is not a gradvitals service: {error}"
                ) from error
        raise refusal(self._url, answer)


def refusal(url: str, answer: Answer) -> Exception:
    """The error that an answer other than 200 stands for."""
    body = _read_refusal(answer.body)
    said = f"{url} answered {answer.status}" + (f": {body.detail}" if body.detail else "")
    status = answer.status
    if status in (401, 403):
        return SendingStoppedError(f"{said}. Is GRADVITALS_TOKEN an ingest token of this service?")
    if status == 404 and body.error:  # a proxy's own 404 would have us declare in vain
        return NotDeclaredError(said)
    if status == 409:
        if body.next is not None:
            return OutOfOrderError(said, body.next)
        if body.error:
            return SendingStoppedError(said)
    if status == 415 and body.wire_versions is not None:
        if set(body.wire_versions) & set(WIRE_VERSIONS):  # it does speak ours, and yet took this for none of it
            return ChunkRefusedError(said)
        return SendingStoppedError(f"{url} {what_to_install(body.wire_versions)}")
    if status in (413, 422) or (status in (400, 405, 415) and body.error):  # 405: a service older than the request
        return ChunkRefusedError(said)
    return ServiceUnavailableError(said, retry_after(answer.headers))


def what_to_install(spoken: Sequence[int]) -> str:
    """What to do where no version of the wire is spoken on both sides."""
    ours = ", ".join(map(str, WIRE_VERSIONS))
    theirs = ", ".join(map(str, spoken)) or "none"
    is_newer = bool(spoken) and min(spoken) > max(WIRE_VERSIONS)
    cure = "a newer gradvitals here" if is_newer else "a newer gradvitals-service there"
    return f"speaks wire version {theirs}, gradvitals {__version__} speaks {ours}: install {cure}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date; None where it asks for nothing sane."""
    value = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if value.isascii() and value.isdigit() and len(value) < 10:
        seconds = float(value)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds <= LONGEST_RETRY_AFTER_SECONDS else None


def _read_refusal(body: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Refusal()


def _reason(error: Exception) -> str:
    """The last, plainest part of urllib3's nested messages, without the repr of its objects."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "the connection was refused or the host cannot be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it took too long"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection broke off"
    return str(error).split(": ")[-1]


class _GivesWay(urllib3.connection.HTTPConnection):
    """A connection whose work on a request is done in pieces."""

    def putrequest(self, *arguments: Any, **options: Any) -> None:
        give_way()
        super().putrequest(*arguments, **options)

    def endheaders(self, *arguments: Any, **options: Any) -> None:
        give_way()
        super().endheaders(*arguments, **options)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3's own is
        response = super().getresponse()
        give_way()
        return response


class _GivesWaySecurely(_GivesWay, urllib3.connection.HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _GivesWay


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GivesWaySecurely


def _open_pools(url: str) -> urllib3.PoolManager:
    """Pools that go through the environment's proxy, except to this machine itself."""
    pools = _choose_pools(url)
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return pools


def _choose_pools(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    host = parts.hostname or ""
    options: dict[str, Any] = {"num_pools": 1, "maxsize": 1}
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:  # SSL_CERT_FILE and SSL_CERT_DIR are read by OpenSSL itself
        options["ca_cert_dir" if os.path.isdir(bundle) else "ca_certs"] = bundle
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(**options)
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    user = urlsplit(proxy)
    if user.username:
        credentials = f"{user.username}:{user.password or ''}"
        return urllib3.ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=credentials), **options)
    return urllib3.ProxyManager(proxy, **options)


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
