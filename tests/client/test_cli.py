"""The command line."""

from __future__ import annotations

import email.utils
import time

import pytest
from client.fake_service import TOKEN, Scripted, running_service

from gradvitals import __version__
from gradvitals.cli import main


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in ("GRADVITALS_URL", "GRADVITALS_TOKEN", "GRADVITALS_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))


@pytest.fixture
def service(monkeypatch):
    with running_service() as service:
        monkeypatch.setenv("GRADVITALS_URL", service.url)
        monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)
        yield service


def test_version(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"gradvitals {__version__}\n"


def test_without_a_command_it_shows_what_there_is(capsys):
    assert main([]) == 2
    assert "check" in capsys.readouterr().out


class TestCheck:
    def test_all_is_well(self, service, capsys):
        assert main(["check"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == ["client", "spool", "service", "clock", "token", "version"]
        assert service.store.requests == []  # it leaves no trace

    def test_no_service_is_known(self, capsys, tmp_path):
        assert main(["check"]) == 1
        assert str(tmp_path / "service.json") in capsys.readouterr().out

    def test_a_setting_is_wrong(self, capsys):
        assert main(["check", "--url", "localhost"]) == 1
        assert "url must be an address" in capsys.readouterr().out

    def test_nobody_answers(self, capsys):
        with running_service() as service:
            url = service.url
        assert main(["check", "--url", url]) == 1
        assert "does not answer" in capsys.readouterr().out

    def test_somebody_else_answers(self, service, capsys):
        service.answer_next(Scripted(404, b"<html>not found</html>"))
        assert main(["check"]) == 1
        assert "is it a gradvitals service?" in capsys.readouterr().out

    @pytest.mark.parametrize("token", ["gv_wrong", None])
    def test_the_token_is_wrong_and_is_not_shown(self, service, capsys, monkeypatch, token):
        if token:
            monkeypatch.setenv("GRADVITALS_TOKEN", token)
        else:
            monkeypatch.delenv("GRADVITALS_TOKEN")
        assert main(["check"]) == 1
        said = capsys.readouterr().out
        assert "set GRADVITALS_TOKEN" in said
        assert "gv_wrong" not in said

    def test_the_clocks_differ(self, service, capsys):
        service.date = email.utils.formatdate(time.time() - 3600, usegmt=True)
        assert main(["check"]) == 1
        assert "ahead of the service" in capsys.readouterr().out

    def test_the_service_speaks_another_version(self, service, capsys):
        body = b'{"error": "unsupported", "detail": "d", "wire_versions": [2]}'
        service.answer_next(Scripted(200, b'{"status": "ok"}'), Scripted(415, body))
        assert main(["check"]) == 1
        assert "does not say that it speaks wire version 1" in capsys.readouterr().out
