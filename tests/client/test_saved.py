"""run.saved and run.may_delete: from the loop to the service, in the background, harming nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from client.building import running_sender
from client.test_sender import DOWN, Told, submit
from torch import nn

import gradvitals
from gradvitals import ChunkRefusedError, MemoryTransport, NotDeclaredError
from gradvitals.checkpoints import Checkpoint
from gradvitals.transport import CheckpointPlace, CheckpointsAnswer


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "GRADVITALS_RUN_ID", "RANK", "WORLD_SIZE", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


class Training:
    """A loop with one weight, whose gradient is 1 unless a test says otherwise."""

    def __init__(self, transport: MemoryTransport | None, **options: object) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.run = gradvitals.init(url=transport, **options)
        self.run.watch(self.model, self.optimizer)

    def step(self, gradient: float = 1.0) -> None:
        self.model.weight.grad = torch.tensor([[gradient]])
        self.optimizer.step()


class SeesAnExplosion(MemoryTransport):
    """A service to which only one checkpoint is clean."""

    def __init__(self, clean: str) -> None:
        super().__init__()
        self.clean = clean

    def declare_checkpoints(self, run_id: str, body: Mapping[str, Any]) -> CheckpointsAnswer:
        super().declare_checkpoints(run_id, body)
        return CheckpointsAnswer(CheckpointPlace(self.clean, 1))


def checkpoint(path: str = "/1.pt", step: int = 1) -> Checkpoint:
    return Checkpoint(path, step, {"main": step}, 1790000000.0, clean=True)


class TestSaved:
    def test_a_checkpoint_is_told_with_the_steps_that_it_holds(self, transport, tmp_path):
        training = Training(transport)
        for _ in range(3):
            training.step()
        training.run.saved(training.run.step, Path("3.pt"))
        training.run.finish()
        (told,) = transport.checkpoints.values()
        assert (told["path"], told["step"], told["steps"]) == (str(tmp_path / "3.pt"), 3, {"main": 3})

    def test_a_resumed_run_counts_on(self, transport):
        training = Training(transport, run_id="again", step=100)
        training.step()
        training.run.saved(training.run.step, "c.pt")
        training.run.finish()
        (told,) = transport.checkpoints.values()
        assert told["step"] == 101

    def test_it_is_told_while_the_run_goes_on(self, transport):
        training = Training(transport)
        training.step()
        training.run.saved(1, "c.pt")
        assert transport.wait_for("checkpoints")
        training.run.finish()

    def test_a_mistake_is_told_once_and_training_goes_on(self, transport, capsys):
        training = Training(transport)
        for mistake in (("1", "c.pt"), (1, None), (-1, "c.pt"), (1, "")):
            training.run.saved(*mistake)
            training.step()
        training.run.finish()
        assert transport.checkpoints == {}
        assert len(transport.frames()) == 4
        assert capsys.readouterr().err.count("run.saved failed") == 1

    def test_a_step_that_was_never_made_is_said_once(self, transport, capsys):
        training = Training(transport)
        training.step()
        for _ in range(2):
            training.run.saved(4000, "c.pt")
        training.run.finish()
        (told,) = transport.checkpoints.values()
        assert told["step"] == 1
        assert capsys.readouterr().err.count("run.saved(4000)") == 1

    def test_other_ranks_leave_the_telling_to_the_first(self, transport, monkeypatch):
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        training = Training(transport, run_id="shared")
        training.step()
        training.run.saved(1, "c.pt")
        training.run.finish()
        assert transport.checkpoints == {}

    @pytest.mark.parametrize("mode", ["disabled", "offline"])
    def test_without_a_service_nothing_is_missing(self, mode):
        training = Training(None, mode=mode)
        training.step()
        training.run.saved(1, "c.pt")
        assert training.run.may_delete("b.pt")
        assert not training.run.may_delete("c.pt")
        training.run.finish()

    def test_after_the_end_of_the_run_nothing_is_told_and_nothing_fails(self, transport):
        training = Training(transport)
        training.run.finish()
        training.step()
        training.run.saved(1, "c.pt")
        assert transport.checkpoints == {}


class TestRotation:
    def test_a_loop_keeps_what_it_may_not_delete(self, transport, tmp_path):
        training = Training(transport)
        transport.go_away()  # what it answers late would spare one more
        for step in range(1, 6):
            training.step()
            torch.save({}, f"{step}.pt")
            training.run.saved(step, f"{step}.pt")
            for old in sorted(tmp_path.glob("*.pt"))[:-2]:
                if training.run.may_delete(old):
                    old.unlink()
        transport.come_back()
        training.run.finish()
        assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["4.pt", "5.pt"]
        assert sorted(Path(path).name for path in transport.checkpoints) == ["4.pt", "5.pt"]

    def test_what_the_service_holds_for_the_newest_clean_one_is_spared(self, tmp_path):
        training = Training(SeesAnExplosion(str(tmp_path / "1.pt")))
        for step in (1, 2, 3):
            training.step()
            training.run.saved(step, f"{step}.pt")
        training.run.finish()
        assert [training.run.may_delete(f"{step}.pt") for step in (1, 2)] == [False, True]

    def test_a_mistake_allows_what_would_happen_without_us(self, transport, capsys):
        training = Training(transport)
        assert training.run.may_delete(None)
        training.run.finish()
        assert capsys.readouterr().err.count("run.may_delete failed") == 1


class TestDelivering:
    """The sender's side."""

    def test_a_checkpoint_is_told_before_the_frames_that_came_after_it(self, transport):
        transport.go_away()
        with running_sender(transport) as sender:
            sender.tell_checkpoint("/1.pt", checkpoint())
            submit(sender, range(3))
            transport.come_back()
            assert sender.close(5)
        kept = [kind for kind in transport.requests if kind in ("checkpoints", "chunk")]
        assert kept[-2:] == ["checkpoints", "chunk"]

    @pytest.mark.parametrize("after_storing", [False, True])
    def test_one_that_did_not_arrive_is_told_again_at_the_end(self, transport, after_storing):
        with running_sender(transport) as sender:
            transport.fail_next(DOWN, request="checkpoints", after_storing=after_storing)
            sender.tell_checkpoint("/1.pt", checkpoint())
            assert sender.close(5)
        assert list(transport.checkpoints) == ["/1.pt"]

    def test_a_service_that_cannot_take_checkpoints_gets_every_frame(self, transport):
        with running_sender(transport) as sender:
            for _ in range(3):
                transport.fail_next(DOWN, request="checkpoints")
            sender.tell_checkpoint("/1.pt", checkpoint())
            assert transport.wait_for("checkpoints")
            submit(sender, range(3))
            assert transport.wait_for_frames(3)
            assert sender.close(10)
        assert list(transport.checkpoints) == ["/1.pt"]

    def test_what_is_refused_is_given_up_and_said_once(self, transport):
        told = Told()
        with running_sender(transport, announcer=told) as sender:
            for _ in range(2):
                transport.fail_next(ChunkRefusedError("405: method not allowed"), request="checkpoints")
                sender.tell_checkpoint("/1.pt", checkpoint())
                submit(sender, range(1))
            assert sender.close(5)
        assert transport.checkpoints == {}
        assert sum("does not keep these checkpoints" in line for line in told.lines) == 1

    def test_a_service_that_forgot_the_run_hears_of_it_again(self, transport):
        with running_sender(transport) as sender:
            assert transport.wait_for("attempt")
            transport.forget()
            sender.tell_checkpoint("/1.pt", checkpoint())
            assert sender.close(5)
        assert list(transport.checkpoints) == ["/1.pt"]

    def test_one_that_knows_the_run_and_no_checkpoints_is_not_asked_for_ever(self, transport):
        with running_sender(transport) as sender:
            for _ in range(2):
                transport.fail_next(NotDeclaredError("there is nothing at /checkpoints"), request="checkpoints")
            sender.tell_checkpoint("/1.pt", checkpoint())
            submit(sender, range(3))
            assert sender.close(5)
        assert [frame.step for frame in transport.frames()] == [0, 1, 2]
        assert transport.requests.count("checkpoints") == 2

    def test_news_of_an_event_has_the_service_asked_again(self, transport):
        with running_sender(transport) as sender:
            sender.tell_checkpoint("/1.pt", checkpoint())
            assert transport.wait_for("checkpoints", 1)
            transport.report("explosion", 7, "the global norm is 812 times its usual 1.52")
            sender.beat()
            assert transport.wait_for("checkpoints", 2)
            assert sender.close(5)
        assert sender.checkpoints.newest_clean == "/1.pt"
