"""What the person set, and where frames go."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from gradvitals import ConfigurationError
from gradvitals.settings import VARIABLES, Destination, clean_name, find_service, read_service_file, read_settings


@pytest.fixture
def warnings() -> list[str]:
    return []


def service_file(
    folder: Path, *, mode: int = 0o600, url: str = "http://127.0.0.1:8765", token: str = "gv_local"
) -> Path:
    path = folder / "service.json"
    path.write_text(json.dumps({"url": url, "ingest_token": token, "pid": 1}))
    path.chmod(mode)
    return path


class TestPrecedence:
    def test_an_argument_wins_over_the_environment(self):
        env = {"GRADVITALS_PROJECT": "b", "GRADVITALS_MODE": "offline", "GRADVITALS_URL": "http://b"}
        settings = read_settings(project="a", mode="disabled", url="http://a", environment=env)
        assert (settings.project, settings.mode, settings.url) == ("a", "disabled", "http://a")

    def test_the_environment_wins_over_the_defaults(self):
        env = {
            "GRADVITALS_PROJECT": "b",
            "GRADVITALS_MODE": "Offline",
            "GRADVITALS_URL": "http://b/",
            "GRADVITALS_QUIET": "1",
        }
        settings = read_settings(environment=env)
        assert (settings.project, settings.mode, settings.url, settings.quiet) == ("b", "offline", "http://b", True)

    def test_the_defaults(self):
        settings = read_settings(environment={})
        assert (settings.project, settings.mode, settings.url, settings.token) == ("default", "online", None, None)
        assert settings.quiet is False

    def test_an_empty_variable_is_an_unset_one(self):
        settings = read_settings(environment=dict.fromkeys(VARIABLES, ""))
        assert (settings.project, settings.mode, settings.url, settings.quiet) == ("default", "online", None, False)

    @pytest.mark.parametrize(
        ("env", "folder"),
        [
            ({"GRADVITALS_STATE_DIR": "/a"}, "/a"),
            ({"XDG_STATE_HOME": "/b"}, "/b/gradvitals"),
            ({}, os.path.expanduser("~/.local/state/gradvitals")),
        ],
    )
    def test_the_state_folder(self, env, folder):
        assert read_settings(environment=env).state_directory == Path(folder)

    @pytest.mark.parametrize("env", [{}, {"GRADVITALS_STATE_DIR": "~/state"}])
    def test_a_user_without_a_home_has_no_local_service(self, env, monkeypatch, warnings):
        def nobody(user: int) -> None:
            raise KeyError(user)

        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", nobody)
        assert find_service(read_settings(environment=env), warnings.append) is None


class TestMistakes:
    def test_an_unknown_mode_is_named_with_its_source(self):
        with pytest.raises(ConfigurationError, match="GRADVITALS_MODE is 'on', expected one of online, offline"):
            read_settings(environment={"GRADVITALS_MODE": "on"})
        with pytest.raises(ConfigurationError, match=r"^mode is ''"):
            read_settings(mode="", environment={})

    @pytest.mark.parametrize(
        "url", ["localhost:8765", "ftp://x", "http://", "http://x:port", "http://[x", "http://x/?a=1"]
    )
    def test_an_address_that_is_none(self, url):
        with pytest.raises(ConfigurationError, match=r"^url must"):
            read_settings(url=url, environment={})

    def test_a_password_in_the_address_is_refused_and_not_repeated(self):
        with pytest.raises(ConfigurationError, match="GRADVITALS_TOKEN") as raised:
            read_settings(environment={"GRADVITALS_URL": "https://ada:hunter2@host"})
        assert "hunter2" not in str(raised.value)

    @pytest.mark.parametrize("token", ["gv_secret\nmore", "gv secret", "gv_sécret"])
    def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(self, token):
        with pytest.raises(ConfigurationError, match=r"^GRADVITALS_TOKEN must") as raised:
            read_settings(environment={"GRADVITALS_TOKEN": token})
        assert "cret" not in str(raised.value)

    @pytest.mark.parametrize("name", ["", 7, "x" * 513])
    def test_a_name_of_a_wrong_kind_or_length(self, name):
        with pytest.raises(ConfigurationError, match=r"^project "):
            clean_name("project", name)

    def test_what_cannot_be_sent_in_a_name_is_replaced(self):
        assert clean_name("name", "a\0b\ud800c") == "a\ufffdb?c"


class TestFindService:
    def test_the_address_and_token_that_were_set(self, warnings):
        env = {"GRADVITALS_URL": "https://team.example", "GRADVITALS_TOKEN": "gv_set"}
        found = find_service(read_settings(environment=env), warnings.append)
        assert found == Destination("https://team.example", "gv_set")

    def test_the_local_service_of_the_same_user(self, tmp_path, warnings):
        service_file(tmp_path)
        found = find_service(read_settings(environment={"GRADVITALS_STATE_DIR": str(tmp_path)}), warnings.append)
        assert found == Destination("http://127.0.0.1:8765", "gv_local")

    def test_the_local_token_for_the_local_address(self, tmp_path, warnings):
        service_file(tmp_path)
        settings = read_settings(url="http://127.0.0.1:8765/", environment={"GRADVITALS_STATE_DIR": str(tmp_path)})
        assert find_service(settings, warnings.append) == Destination("http://127.0.0.1:8765", "gv_local")

    def test_the_local_token_goes_to_no_other_address(self, tmp_path, warnings):
        service_file(tmp_path)
        settings = read_settings(url="http://127.0.0.1:9999", environment={"GRADVITALS_STATE_DIR": str(tmp_path)})
        assert find_service(settings, warnings.append) == Destination("http://127.0.0.1:9999", None)

    def test_nowhere(self, tmp_path, warnings):
        settings = read_settings(environment={"GRADVITALS_STATE_DIR": str(tmp_path)})
        assert find_service(settings, warnings.append) is None
        assert warnings == []

    def test_no_repr_shows_a_token(self, tmp_path, warnings):
        settings = read_settings(environment={"GRADVITALS_TOKEN": "gv_set"})
        found = read_service_file(service_file(tmp_path), warnings.append)
        assert "gv_" not in repr(settings) + repr(found) + repr(Destination("http://a", "gv_a"))


class TestTheServiceFile:
    @pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
    def test_one_that_others_can_read_is_ignored_with_the_reason(self, tmp_path, warnings, mode):
        path = service_file(tmp_path, mode=mode)
        assert read_service_file(path, warnings.append) is None
        assert warnings == [f"{path} is ignored: it must belong to you and have mode 0600"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_one_of_somebody_else_is_ignored(self, tmp_path, warnings):
        path = service_file(tmp_path)
        os.chown(path, 65534, 65534)
        assert read_service_file(path, warnings.append) is None
        assert len(warnings) == 1

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"url": 7}', '{"url": "file:///etc", "ingest_token": "t"}', "\xff"]
    )
    def test_one_that_says_nothing_is_ignored(self, tmp_path, warnings, text):
        path = service_file(tmp_path)
        path.write_text(text, encoding="latin-1")
        assert read_service_file(path, warnings.append) is None
        assert "does not say where" in warnings[0]

    def test_one_with_half_a_token_is_ignored_and_the_token_not_repeated(self, tmp_path, warnings):
        assert read_service_file(service_file(tmp_path, token="gv_secret\nmore"), warnings.append) is None
        assert "does not say where" in warnings[0]
        assert "gv_" not in warnings[0]

    def test_a_folder_or_a_pipe_in_its_place_is_not_waited_for(self, tmp_path, warnings):
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe", 0o600)
        assert read_service_file(tmp_path / "folder", warnings.append) is None
        assert read_service_file(tmp_path / "pipe", warnings.append) is None


class TestTheSpool:
    def test_lies_in_the_state_folder_and_has_256_mib(self):
        settings = read_settings(environment={"GRADVITALS_STATE_DIR": "/state"})
        assert (str(settings.spool_directory), settings.spool_bytes) == ("/state/spool", 256 << 20)

    def test_lies_where_it_is_said_and_has_what_it_is_given(self):
        settings = read_settings(environment={"GRADVITALS_SPOOL_DIR": "/shared", "GRADVITALS_SPOOL_MIB": " 8 "})
        assert (str(settings.spool_directory), settings.spool_bytes) == ("/shared", 8 << 20)

    @pytest.mark.parametrize("text", ["lots", "-1", "1.5", "1e3", "9" * 9])
    def test_a_size_that_is_none_is_named(self, text):
        with pytest.raises(ConfigurationError, match=r"^GRADVITALS_SPOOL_MIB is "):
            read_settings(environment={"GRADVITALS_SPOOL_MIB": text})
