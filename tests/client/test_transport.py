"""HTTPTransport against a real loopback socket: what each answer means, and what is never carried where."""

from __future__ import annotations

import email.utils
import socket
import threading
import time

import msgspec
import pytest
from client.building import ATTEMPT_ID, LAYOUT, RUN_ID, attempt, declaration, frame
from client.fake_service import TOKEN, FakeService, Scripted, running_service

from gradvitals import (
    ChunkRefusedError,
    NotDeclaredError,
    OutOfOrderError,
    SendingStoppedError,
    ServiceUnavailableError,
)
from gradvitals.frames import Chunk, encode_chunk
from gradvitals.transport import Answer, HTTPTransport, is_loopback, refusal, retry_after

BODY = encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, 0, [frame(0)]))
PROBLEM = b'{"error": "kind", "detail": "the field x is wrong"}'


@pytest.fixture
def service():
    with running_service() as service:
        yield service


@pytest.fixture
def transport(service: FakeService):
    transport = HTTPTransport(service.url + "/", TOKEN, connect_seconds=2, read_seconds=2)
    yield transport
    transport.close()


class TestAnswers:
    def test_declarations_and_a_chunk_arrive(self, service, transport):
        assert transport.declare_run(RUN_ID, declaration().body()).wire_versions == [1]
        assert transport.declare_attempt(RUN_ID, ATTEMPT_ID, attempt().body({}, 0)).events == []
        assert transport.declare_layout(RUN_ID, LAYOUT.layout_id, LAYOUT.to_json()).layout_id == LAYOUT.layout_id
        assert transport.send_chunk(RUN_ID, BODY).next == 1
        assert [frame.step for frame in service.store.frames()] == [0]

    def test_checkpoints_arrive_and_the_newest_clean_one_is_answered(self, service, transport):
        transport.declare_run(RUN_ID, declaration().body())
        transport.declare_attempt(RUN_ID, ATTEMPT_ID, attempt().body({}, 0))
        saved = {"path": "/1900.pt", "step": 1900, "steps": {"main": 1900}, "saved_at": 1.0, "clean": True}
        answer = transport.declare_checkpoints(RUN_ID, {"attempt_id": ATTEMPT_ID, "saved": [saved], "deleted": []})
        assert (answer.newest_clean.path, answer.newest_clean.step) == ("/1900.pt", 1900)
        assert service.store.checkpoints == {"/1900.pt": saved}

    def test_one_connection_is_kept(self, service, transport):
        for _ in range(3):
            transport.declare_run(RUN_ID, declaration().body())
        assert transport._pools.connection_from_url(service.url).num_connections == 1

    def test_a_request_is_made_in_pieces_between_which_others_may_go_on(self, transport, monkeypatch):
        pieces = []
        monkeypatch.setattr("gradvitals.transport.give_way", lambda: pieces.append("piece"))
        transport.declare_run(RUN_ID, declaration().body())
        assert len(pieces) >= 5  # looked up, begun, sent, answered, read

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (Scripted(401, PROBLEM), SendingStoppedError),
            (Scripted(403, b"<html>no</html>"), SendingStoppedError),
            (Scripted(404, PROBLEM), NotDeclaredError),
            (Scripted(404, b"<html>nginx</html>"), ServiceUnavailableError),
            (Scripted(409, b'{"error": "out_of_order", "detail": "d", "next": 3}'), OutOfOrderError),
            (Scripted(409, PROBLEM), SendingStoppedError),
            (Scripted(413, b"<html>too large</html>"), ChunkRefusedError),
            (Scripted(415, b'{"error": "unsupported", "detail": "d", "wire_versions": [2]}'), SendingStoppedError),
            (Scripted(422, PROBLEM), ChunkRefusedError),
            (Scripted(400, PROBLEM), ChunkRefusedError),
            (Scripted(405, PROBLEM), ChunkRefusedError),
            (Scripted(405, b"<html>proxy</html>"), ServiceUnavailableError),
            (Scripted(400, b"<html>proxy</html>"), ServiceUnavailableError),
            (Scripted(429, PROBLEM), ServiceUnavailableError),
            (Scripted(500, b""), ServiceUnavailableError),
            (Scripted(502, b"<html>bad gateway</html>"), ServiceUnavailableError),
            (Scripted(503, PROBLEM), ServiceUnavailableError),
            (Scripted(200, b"<html>log in</html>", content_type="text/html"), ServiceUnavailableError),
            (Scripted(200, b'{"next": "many"}'), ServiceUnavailableError),
            (Scripted(200, b"[" * 100_000), ServiceUnavailableError),
            (Scripted(302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), ServiceUnavailableError),
        ],
    )
    def test_each_answer_has_its_error(self, service, transport, answer, error):
        service.answer_next(answer)
        with pytest.raises(error) as raised:
            transport.send_chunk(RUN_ID, BODY)
        assert type(raised.value) is error

    def test_the_service_says_in_words_what_is_wrong(self, service, transport):
        service.answer_next(Scripted(422, PROBLEM))
        with pytest.raises(ChunkRefusedError, match="422: the field x is wrong"):
            transport.send_chunk(RUN_ID, BODY)

    def test_the_count_of_a_409_is_kept(self, service, transport):
        service.answer_next(Scripted(409, b'{"error": "out_of_order", "detail": "d", "next": 3}'))
        with pytest.raises(OutOfOrderError) as raised:
            transport.send_chunk(RUN_ID, BODY)
        assert raised.value.next == 3

    def test_an_overload_says_when_to_come_back(self, service, transport):
        service.answer_next(Scripted(503, PROBLEM, {"Retry-After": "7"}))
        with pytest.raises(ServiceUnavailableError) as raised:
            transport.send_chunk(RUN_ID, BODY)
        assert raised.value.retry_after == 7.0


class TestNoAnswer:
    def test_a_closed_port_is_unavailable(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            transport = HTTPTransport(f"http://127.0.0.1:{unused.getsockname()[1]}", TOKEN)
            with pytest.raises(ServiceUnavailableError, match="refused"):
                transport.send_chunk(RUN_ID, BODY)

    def test_a_service_that_never_answers_is_left_after_the_timeout(self, service):
        service.hanging.set()
        transport = HTTPTransport(service.url, TOKEN, read_seconds=0.2)
        with pytest.raises(ServiceUnavailableError, match="too long"):
            transport.send_chunk(RUN_ID, BODY)

    def test_a_connection_that_was_closed_meanwhile_is_opened_again(self):
        with running_service() as first:
            port, store = first.port, first.store
            transport = HTTPTransport(first.url, TOKEN)
            transport.declare_run(RUN_ID, declaration().body())
        with running_service(port, store):
            transport.declare_run(RUN_ID, declaration().body())
        transport.close()
        assert store.requests == ["run", "run"]

    @pytest.mark.parametrize(
        "garbage", [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
    )
    def test_something_else_on_the_port_is_unavailable(self, garbage):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                for _ in range(2):  # a broken connection is tried once more
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection:
                        connection.recv(65_536)
                        connection.sendall(garbage)

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            transport = HTTPTransport(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN, read_seconds=1)
            with pytest.raises(ServiceUnavailableError):
                transport.send_chunk(RUN_ID, BODY)
            transport.close()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


class TestSecrets:
    def test_the_token_is_in_no_repr_and_no_error(self, service):
        transport = HTTPTransport(service.url, "gv_secret")
        with pytest.raises(SendingStoppedError) as raised:
            transport.declare_run(RUN_ID, declaration().body())
        assert "gv_secret" not in repr(transport) + str(raised.value)

    def test_a_redirect_is_not_followed_with_the_token(self, service, transport):
        with running_service() as elsewhere:
            service.answer_next(Scripted(307, b"", {"Location": elsewhere.url + "/api/v1/runs/x"}))
            with pytest.raises(ServiceUnavailableError):
                transport.declare_run(RUN_ID, declaration().body())
            assert elsewhere.requests == []


class TestProxies:
    def test_this_machine_is_never_reached_through_a_proxy(self, service, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.delenv("no_proxy", raising=False)
        HTTPTransport(service.url, TOKEN).declare_run(RUN_ID, declaration().body())
        assert service.store.requests == ["run"]

    def test_another_machine_is_reached_through_the_environments_proxy(self, service, monkeypatch):
        monkeypatch.setenv("http_proxy", service.url)
        monkeypatch.delenv("no_proxy", raising=False)
        service.answer_next(Scripted(200, b'{"wire_versions": [1]}'))
        HTTPTransport("http://gradvitals.example", TOKEN).declare_run(RUN_ID, declaration().body())
        assert service.requests[0][1] == f"http://gradvitals.example/api/v1/runs/{RUN_ID}"

    def test_a_proxys_own_password_goes_to_the_proxy(self, service, monkeypatch):
        monkeypatch.setenv("http_proxy", f"http://ada:pass@127.0.0.1:{service.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        service.answer_next(Scripted(200, b'{"wire_versions": [1]}'))
        HTTPTransport("http://gradvitals.example", TOKEN).declare_run(RUN_ID, declaration().body())
        assert service.requests[0][2]["proxy-authorization"] == "Basic YWRhOnBhc3M="

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "x.localhost"])
    def test_loopback_names_are_known(self, host):
        assert is_loopback(host)

    @pytest.mark.parametrize("host", ["localhost.example", "10.0.0.1", "127.example", ""])
    def test_other_names_are_not_loopback(self, host):
        assert not is_loopback(host)


class TestRetryAfter:
    @pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("30", 30.0), (" 5 ", 5.0)])
    def test_seconds_are_honoured(self, value, seconds):
        assert retry_after({"retry-after": value}) == seconds

    @pytest.mark.parametrize(
        "value", ["1e9", "99999", "-1", "soon", "", "9" * 5000, "٣", "Wed, 21 Oct 2015 07:28:00 GMT"]
    )
    def test_what_is_not_sane_is_not(self, value):
        assert retry_after({"Retry-After": value}) is None

    def test_a_date_is_honoured(self):
        date = email.utils.formatdate(time.time() + 30, usegmt=True)
        assert retry_after({"Retry-After": date}) == pytest.approx(30, abs=2)

    def test_no_header_asks_for_nothing(self):
        assert retry_after({}) is None


class TestVersions:
    @pytest.mark.parametrize(
        ("spoken", "cure"),
        [([2, 3], "a newer gradvitals here"), ([0], "a newer gradvitals-service there"), ([], "there")],
    )
    def test_where_none_is_shared_it_is_said_what_to_install(self, spoken, cure):
        body = msgspec.json.encode({"error": "unsupported", "detail": "v", "wire_versions": spoken})
        error = refusal("http://here", Answer(415, {}, body))
        assert isinstance(error, SendingStoppedError)
        assert cure in str(error)

    def test_a_service_that_speaks_ours_refuses_the_chunk_and_not_the_client(self):
        body = b'{"error": "unsupported", "detail": "v", "wire_versions": [1, 2]}'
        assert isinstance(refusal("http://here", Answer(415, {}, body)), ChunkRefusedError)
