"""``init``: what is declared, and how a process with a run begins, forks and ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from client.fake_service import TOKEN, running_service

import gradvitals
from gradvitals import ConfigurationError, MemoryTransport
from gradvitals.identity import name_to_uuid


@pytest.fixture(autouse=True)
def state_folder(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("GRADVITALS_", "SLURM_", "TORCHELASTIC_")) or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))
    return tmp_path


def leave_address(folder, service) -> None:
    """What ``gradvitals-service serve`` does for its own user."""
    path = folder / "service.json"
    path.touch(0o600)
    path.write_text(json.dumps({"url": service.url, "ingest_token": TOKEN, "pid": 1}))


class TestWhatIsDeclared:
    def declared(self, **arguments) -> dict:
        transport = MemoryTransport()
        with gradvitals.init(url=transport, **arguments):
            pass
        ((run_id, body),) = transport.runs.items()
        return {"run_id": run_id, **body}

    def test_what_was_given(self):
        body = self.declared(
            project="gru-lm", name="gru", owner="ada", group="sweep", tags=["a", "b", "a"], config={"lr": 0.5},
            run_id="x", links={"wandb": "https://w.example"},
        )  # fmt: skip
        assert body.pop("versions").keys() >= {"gradvitals", "python"}
        assert body == {
            "run_id": str(name_to_uuid("x", "gru-lm")),
            "project": "gru-lm",
            "name": "gru",
            "owner": "ada",
            "group": "sweep",
            "tags": ["a", "b"],
            "config": {"lr": 0.5},
            "links": {"wandb": "https://w.example"},
        }

    def test_what_was_not(self, monkeypatch):
        monkeypatch.setenv("LOGNAME", "grace")
        body = self.declared()
        assert (body["project"], body["owner"], body["group"], body["config"]) == ("default", "grace", None, {})
        assert ", 20" in body["name"]  # the script's and a date

    def test_a_machine_with_a_name_in_another_encoding_is_declared(self, monkeypatch):
        monkeypatch.setattr(socket, "gethostname", lambda: "k\udcfcche")  # latin-1, as Python hands it over
        with running_service() as service:
            monkeypatch.setenv("GRADVITALS_URL", service.url)
            monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)
            gradvitals.init().finish()
        (body,) = service.store.attempts.values()
        assert (body["host"], body["state"]) == ("k?che", "finished")

    def test_a_disabled_run_asks_no_other_rank_who_it_is(self, monkeypatch):
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ConfigurationError, match="WORLD_SIZE is 2"):
            gradvitals.init()
        gradvitals.init(mode="disabled").finish()

    def test_a_script_with_a_name_in_another_encoding_names_its_run(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["pr\udcfcfung.py"])
        assert self.declared()["name"].startswith("pr?fung, 20")

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"step": -1}, "step"),
            ({"step": 1.5}, "step"),
            ({"tags": "sweep"}, "tags"),
            ({"tags": [1]}, "tags"),
            ({"tags": 7}, "tags"),
            ({"links": ["https://w.example"]}, "links"),
            ({"url": 8765}, "url"),
            ({"name": ""}, "name"),
            ({"mode": "on"}, "mode"),
            ({"url": "localhost:8765"}, "url"),
            ({"project": "x" * 513}, "project"),
            ({"run_id": ""}, "run_id"),
        ],
    )
    def test_a_mistake_raises_at_once_and_is_named(self, arguments, named):
        with pytest.raises(ConfigurationError, match=rf"^{named} "):
            gradvitals.init(**arguments)


class TestWhereItSends:
    def test_a_local_service_is_found_by_its_file(self, state_folder):
        with running_service() as service:
            leave_address(state_folder, service)
            with gradvitals.init() as run:
                assert run.url == f"{service.url}/runs/{run.run_id}"
            assert list(service.store.runs) == [run.run_id]

    def test_the_person_is_told_where_to_look(self, state_folder, capsys):
        with running_service() as service:
            leave_address(state_folder, service)
            with gradvitals.init(name="gru") as run:
                pass
            assert f"'gru' can be seen at {run.url}\n" in capsys.readouterr().err

    def test_the_address_of_the_environment(self, monkeypatch):
        with running_service() as service:
            monkeypatch.setenv("GRADVITALS_URL", service.url)
            monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)
            gradvitals.init().finish()
            assert service.store.requests == ["run", "attempt", "attempt"]

    def test_a_wrong_token_is_one_line_without_the_token(self, monkeypatch, capsys):
        with running_service() as service:
            monkeypatch.setenv("GRADVITALS_URL", service.url)
            monkeypatch.setenv("GRADVITALS_TOKEN", "gv_wrong")
            gradvitals.init().finish()
        said = capsys.readouterr().err
        assert said.count("the token is not known here") == 2  # when it happened, and in the last line
        assert "gv_wrong" not in said

    def test_a_service_that_hangs_holds_up_neither_the_start_nor_the_steps(self, monkeypatch):
        with running_service() as service:
            service.hanging.set()
            monkeypatch.setenv("GRADVITALS_QUIET", "1")
            monkeypatch.setenv("GRADVITALS_URL", service.url)
            monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)
            started = time.monotonic()
            run = gradvitals.init()
            assert service.asked.wait(10)
            for _ in range(1000):
                run.log(loss=1.0)
            assert time.monotonic() - started < 2
            run._finish("finished", None, 0.1)


BARE = """
import gradvitals
run = gradvitals.init(name="script")
"""
TRAINING = """
import os, sys
import torch
import gradvitals
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
run = gradvitals.init(name="script")
run.watch(model, optimizer, max_norm=1.0)
def step():
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
step()
"""


class TestProcesses:
    """Real processes against a service on a real socket."""

    @pytest.fixture
    def service(self, state_folder):
        with running_service() as service:
            leave_address(state_folder, service)
            yield service

    def run(self, script: str, code: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", script + code], capture_output=True, text=True, timeout=100, env=environment
        )

    def end(self, service) -> tuple[str, str | None]:
        (body,) = service.store.attempts.values()
        return body["state"], body["exception"]

    def test_a_script_that_just_ends_is_finished(self, service):
        result = self.run(TRAINING, "step()")
        assert result.returncode == 0, result.stderr
        assert self.end(service) == ("finished", None)
        assert [frame.step for frame in service.store.frames()] == [0, 1]
        assert "2 steps" in result.stderr

    def test_a_script_that_raises_has_failed_with_the_exceptions_type(self, service):
        result = self.run(BARE, "raise ZeroDivisionError")
        assert result.returncode == 1
        assert self.end(service) == ("failed", "ZeroDivisionError")

    def test_a_forked_child_clips_and_sends_nothing(self, service):
        result = self.run(
            TRAINING,
            """
child = os.fork()
if child == 0:
    optimizer.zero_grad()
    step()
    run.log(loss=1.0)
    clipped = model.weight.grad.norm() <= 1.0
    run.finish()
    sys.exit(0 if clipped else 1)  # through atexit, as a careless child leaves
assert os.waitpid(child, 0)[1] == 0
step()
""",
        )
        assert result.returncode == 0, result.stderr
        assert [frame.step for frame in service.store.frames()] == [0, 1]
        assert self.end(service) == ("finished", None)
        assert result.stderr.count("2 steps") == 1

    def test_a_forked_child_can_begin_a_run_of_its_own_with_the_same_optimizer(self, service):
        result = self.run(
            TRAINING,
            """
child = os.fork()
if child == 0:
    with gradvitals.init(name="child") as mine:
        mine.watch(model, optimizer, max_norm=1.0)
        step()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
        )
        assert result.returncode == 0, result.stderr
        assert sorted(body["name"] for body in service.store.runs.values()) == ["child", "script"]
        assert [frame.step for frame in service.store.frames()] == [0, 0]

    def test_workers_of_a_data_loader_are_no_runs(self, service):
        result = self.run(
            TRAINING,
            """
from torch.utils.data import DataLoader
for batch in DataLoader(list(range(8)), num_workers=2, batch_size=2):
    optimizer.zero_grad()
    step()
""",
        )
        assert result.returncode == 0, result.stderr
        assert len(service.store.frames()) == 5
        assert len(service.store.attempts) == 1

    def test_leaving_takes_five_seconds_at_most_when_the_service_hangs(self, service):
        service.hanging.set()
        started = time.monotonic()
        result = self.run(BARE, "import time; print(time.monotonic())")
        ended = time.monotonic()
        assert result.returncode == 0, result.stderr
        assert ended - float(result.stdout) < 7  # of one clock for all processes; with a second for the interpreter
        assert ended - started > 4  # it did try
        assert "the service was not told of the end" in result.stderr
