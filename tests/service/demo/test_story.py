"""The demonstration says in one line why it cannot start, and then starts nothing. All of it is tried in end_to_end."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradvitals_service.demo.story import address, run_demo, training_environment
from gradvitals_service.settings import Settings


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADVITALS_SERVICE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_busy_port_is_one_line_that_names_the_flag(
    busy_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(port=busy_port) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"gradvitals: port {busy_port} on 127.0.0.1 is in use by another program; choose another one with --port\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_service_of_the_same_user_in_the_way_is_named(
    busy_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "service.json").write_text(json.dumps({"url": f"http://127.0.0.1:{busy_port}"}))
    assert run_demo(port=busy_port) == 1
    assert f"your own gradvitals service already runs at http://127.0.0.1:{busy_port}" in capsys.readouterr().err


def test_a_host_that_is_not_of_this_machine_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADVITALS_SERVICE_INGEST_TOKEN", "gv_" + "i" * 20)
    monkeypatch.setenv("GRADVITALS_SERVICE_READ_TOKEN", "gv_" + "r" * 20)
    assert run_demo(host="192.0.2.1", port=0) == 1  # an address for documentation, nobody's
    assert capsys.readouterr().err.startswith("gradvitals: cannot listen on 192.0.2.1:0: ")


def test_a_host_that_others_can_reach_is_refused_as_serve_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(host="0.0.0.0") == 1
    assert "GRADVITALS_SERVICE_READ_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8765"), ("localhost", "http://localhost:8765"), ("::1", "http://[::1]:8765")],
)
def test_the_address_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert address(Settings(host=host)) == url


def test_a_training_inside_a_cluster_job_is_a_run_of_its_own_and_sends_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADVITALS_MODE", "GRADVITALS_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    environment = training_environment(Settings())
    assert environment["GRADVITALS_URL"] == "http://127.0.0.1:8765"
    assert environment["GRADVITALS_TOKEN"].startswith("gv_")
    assert "127.0.0.1" in environment["NO_PROXY"]
    assert not {
        "GRADVITALS_MODE",
        "GRADVITALS_RUN_ID",
        "SLURM_JOB_ID",
        "TORCHELASTIC_RUN_ID",
        "WORLD_SIZE",
        "RANK",
    } & set(environment)
