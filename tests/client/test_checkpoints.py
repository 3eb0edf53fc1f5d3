"""Which checkpoints are clean, and which one a rotation must spare. A checkpoint of step 3 holds steps 0, 1 and 2."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from gradvitals import ConfigurationError, MemoryTransport, init
from gradvitals.checkpoints import Checkpoint, CheckpointOutbox, Checkpoints, Seen, look_at, place_of

CLOCK = 1790000000.0


def made(steps: int, *, read: int | None = None, spoiled_at: int | None = None) -> dict[str, Seen]:
    """One monitor that has made so many steps, all of them read unless it is said how many were."""
    return {"main": Seen(steps, (steps if read is None else read) - 1, spoiled_at)}


class Told(dict):
    """The newest word about each path, as the service would hear it."""

    def __call__(self, path: str, checkpoint: Checkpoint | None) -> None:
        self[path] = checkpoint

    def verdicts(self) -> dict[str, bool | None]:
        return {os.path.basename(path): word.clean for path, word in self.items() if word is not None}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def checkpoints(told) -> Checkpoints:
    return Checkpoints(told, clock=lambda: CLOCK)


class TestClean:
    def test_a_checkpoint_of_healthy_steps_is_clean(self, checkpoints, told):
        checkpoints.saved(3, "/3.pt", made(3))
        assert told == {"/3.pt": Checkpoint("/3.pt", 3, {"main": 3}, CLOCK, clean=True)}

    def test_it_holds_the_steps_below_its_own_number_and_no_other(self, checkpoints, told):
        checkpoints.saved(3, "/3.pt", made(3))
        checkpoints.saved(4, "/4.pt", made(4, spoiled_at=3))
        assert told.verdicts() == {"3.pt": True, "4.pt": False}

    def test_what_is_saved_after_a_spoiled_step_stays_spoiled(self, checkpoints, told):
        checkpoints.saved(900, "/900.pt", made(900, spoiled_at=3))
        assert told.verdicts() == {"900.pt": False}

    def test_nothing_is_known_before_its_steps_were_read(self, checkpoints, told):
        checkpoints.saved(3, "/3.pt", made(3, read=2))
        assert told.verdicts() == {"3.pt": None}
        checkpoints.saved(4, "/4.pt", made(4, read=3))
        assert told.verdicts() == {"3.pt": True, "4.pt": None}

    def test_a_step_that_turns_out_bad_spoils_what_was_saved_after_it(self, checkpoints, told):
        checkpoints.saved(3, "/3.pt", made(3, read=2))
        checkpoints.saved(4, "/4.pt", made(4, read=4, spoiled_at=2))
        assert told.verdicts() == {"3.pt": False, "4.pt": False}

    def test_a_bad_step_of_any_monitor_spoils_it(self, checkpoints, told):
        checkpoints.saved(3, "/3.pt", {"main": Seen(3, 2, None), "critic": Seen(15, 14, 11)})
        assert told["/3.pt"].steps == {"main": 3, "critic": 15}
        assert told.verdicts() == {"3.pt": False}

    def test_without_a_monitor_nothing_is_known(self, checkpoints, told):
        checkpoints.saved(3, "/3.pt", {})
        assert told == {"/3.pt": Checkpoint("/3.pt", 3, {}, CLOCK, clean=None)}


class TestStep:
    """What is said to be of which step, ten steps into a run."""

    @pytest.mark.parametrize(
        ("said", "holds"),
        [
            (10, 10),  # run.step, as it should be
            (9, 10),  # the index of the loop whose step was just made
            (8, 8),  # saved a while ago, in the background
            (4000, 10),  # batches, with accumulation
        ],
    )
    def test_a_checkpoint_holds_no_more_than_was_made(self, checkpoints, told, said, holds):
        checkpoints.saved(said, "/c.pt", made(10))
        assert (told["/c.pt"].step, told["/c.pt"].steps) == (holds, {"main": holds})

    def test_a_step_that_was_never_made_is_remarked_upon(self, checkpoints):
        assert checkpoints.saved(10, "/c.pt", made(10)) is None
        assert checkpoints.saved(9, "/c.pt", made(10)) is None
        assert "has made 10 steps, so 10 is kept" in checkpoints.saved(4000, "/c.pt", made(10))

    def test_the_other_monitors_steps_are_those_made(self, checkpoints, told):
        checkpoints.saved(8, "/c.pt", {"main": Seen(10, 9, None), "critic": Seen(50, 49, None)})
        assert told["/c.pt"].steps == {"main": 8, "critic": 50}

    @pytest.mark.parametrize(("step", "error"), [("3", TypeError), (1.5, TypeError), (-1, ConfigurationError)])
    def test_a_mistake_is_told_as_one(self, checkpoints, step, error):
        with pytest.raises(error):
            checkpoints.saved(step, "/c.pt", made(10))


class TestPlace:
    def test_a_path_is_the_same_however_it_is_spelled(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        spelled = ["c/1.pt", Path("c/1.pt"), tmp_path / "c" / "1.pt", "./c/../c/1.pt", b"c/1.pt", "c/1.pt/"]
        assert {place_of(path) for path in spelled} == {str(tmp_path / "c" / "1.pt")}

    def test_an_address_stays_as_it_is(self):
        assert place_of("s3://bucket/run//1.pt") == "s3://bucket/run//1.pt"

    def test_what_no_database_holds_is_replaced(self):
        assert place_of("/c\0d\udcff.pt") == "/c\ufffdd?.pt"

    @pytest.mark.parametrize(
        ("path", "error"),
        [(7, TypeError), (None, TypeError), ("", ConfigurationError), ("/" * 2 + "c" * 4096, ConfigurationError)],
    )
    def test_what_is_no_path_is_a_mistake(self, path, error):
        with pytest.raises(error):
            place_of(path)


class TestRotation:
    """Saved: 1.pt and 2.pt are clean, 3.pt holds a bad step."""

    @pytest.fixture
    def seen(self, checkpoints):
        for step in (1, 2):
            checkpoints.saved(step, f"/{step}.pt", made(step))
        checkpoints.saved(3, "/3.pt", made(3, spoiled_at=2))
        return made(3, spoiled_at=2)

    def test_the_newest_clean_one_is_spared(self, checkpoints, seen):
        allowed = [checkpoints.may_delete(f"/{step}.pt", seen) for step in (1, 2, 3)]
        assert allowed == [True, False, True]

    def test_it_is_spared_until_a_newer_one_is_known_to_be_clean(self, checkpoints):
        checkpoints.saved(1, "/1.pt", made(1))
        checkpoints.saved(2, "/2.pt", made(2, read=1))
        assert not checkpoints.may_delete("/1.pt", made(2, read=1))
        assert checkpoints.may_delete("/1.pt", made(2))

    def test_while_nothing_is_known_the_newest_is_spared(self, checkpoints):
        for step in (1, 2):
            checkpoints.saved(step, f"/{step}.pt", {"main": Seen(step, None, None)})
        assert [checkpoints.may_delete(f"/{step}.pt", {}) for step in (1, 2)] == [True, False]

    def test_what_may_be_deleted_is_told_to_be_gone(self, checkpoints, seen, told):
        checkpoints.may_delete("/1.pt", seen)
        checkpoints.may_delete("/2.pt", seen)
        assert told["/1.pt"] is None
        assert told["/2.pt"] is not None

    def test_a_path_that_was_never_told_of_may_go(self, checkpoints, seen, told):
        assert checkpoints.may_delete("/of-an-earlier-attempt.pt", seen)
        assert told["/of-an-earlier-attempt.pt"] is None  # the service may know it

    def test_but_not_where_all_that_were_told_of_are_spoiled(self, checkpoints):
        seen = made(3, spoiled_at=0)
        checkpoints.saved(3, "/3.pt", seen)
        assert not checkpoints.may_delete("/of-an-earlier-attempt.pt", seen)
        assert checkpoints.may_delete("/3.pt", seen)

    def test_what_the_service_holds_for_the_newest_clean_one_is_spared_too(self, checkpoints, seen):
        assert not checkpoints.may_delete("/1.pt", seen, held="/1.pt")
        assert not checkpoints.may_delete("/2.pt", seen, held="/1.pt")

    def test_a_file_that_is_written_over_is_what_it_is_now(self, checkpoints, told):
        checkpoints.saved(1, "/last.pt", made(1))
        checkpoints.saved(3, "/last.pt", made(3, spoiled_at=2))
        assert told.verdicts() == {"last.pt": False}
        assert checkpoints.may_delete("/last.pt", made(3, spoiled_at=2))

    def test_a_thousand_are_remembered(self, checkpoints):
        for step in range(1, 1003):
            checkpoints.saved(step, f"/{step}.pt", made(step))
        assert len(checkpoints._known) == 1000


class TestOutbox:
    """What waits for the service."""

    FIRST = Checkpoint("/1.pt", 1, {"main": 1}, CLOCK)
    SECOND = Checkpoint("/2.pt", 2, {"main": 2}, CLOCK, clean=True)

    def test_what_was_saved_and_deleted_is_one_request(self):
        outbox = CheckpointOutbox(asks=False)
        outbox.add("/2.pt", self.SECOND)
        outbox.add("/1.pt", None)
        saved = {"path": "/2.pt", "step": 2, "steps": {"main": 2}, "saved_at": CLOCK, "clean": True}
        assert outbox.take().body("an attempt") == {"attempt_id": "an attempt", "saved": [saved], "deleted": ["/1.pt"]}

    def test_it_waits_until_it_is_acknowledged(self):
        outbox = CheckpointOutbox(asks=False)
        outbox.add("/1.pt", self.FIRST)
        batch = outbox.take()
        assert outbox.take() == batch
        outbox.acknowledge(batch, "/1.pt")
        assert (outbox.take(), outbox.newest_clean) == (None, "/1.pt")

    def test_a_newer_word_that_came_meanwhile_is_told_too(self):
        outbox = CheckpointOutbox(asks=False)
        outbox.add("/1.pt", self.FIRST)
        batch = outbox.take()
        outbox.add("/1.pt", None)
        outbox.acknowledge(batch, None)
        assert outbox.take().words == {"/1.pt": None}

    def test_the_newest_thousand_wait_and_go_a_hundred_at_a_time(self):
        outbox = CheckpointOutbox(asks=False)
        for step in range(1002):
            outbox.add(f"/{step}.pt", self.FIRST)
        sent = []
        while (batch := outbox.take()) is not None:
            assert len(batch.words) <= 100
            sent += batch.words
            outbox.acknowledge(batch, None)
        assert sent == [f"/{step}.pt" for step in range(2, 1002)]

    def test_after_a_resume_the_service_is_asked_what_it_holds_for_clean(self):
        outbox = CheckpointOutbox(asks=True)
        assert outbox.take().words == {}
        outbox.acknowledge(outbox.take(), "/1.pt")
        assert outbox.take() is None

    def test_it_is_asked_anew_only_by_who_has_checkpoints(self):
        outbox = CheckpointOutbox(asks=False)
        outbox.ask()
        assert outbox.take() is None
        outbox.add("/1.pt", self.FIRST)
        outbox.acknowledge(outbox.take(), None)
        outbox.ask()
        assert outbox.take().words == {}


class FakeMonitor:
    """Five steps made, three of them read."""

    step, last, spoiled_at = 5, {"step": 2}, 1


class TestLooking:
    """What is asked of a monitor."""

    def test_its_steps_those_read_and_the_first_that_spoiled(self):
        assert look_at({"main": FakeMonitor()}) == {"main": Seen(5, 2, 1)}

    def test_before_its_first_frame_nothing_is_known(self):
        monitor = FakeMonitor()
        monitor.last = None
        assert look_at({"main": monitor})["main"].newest is None


class TestWhatWatchedStepsSay:
    """Six steps, the gradient of step 4 is NaN, and a checkpoint is saved after each."""

    @staticmethod
    def train(run, on_non_finite: str) -> None:
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.watch(model, optimizer, max_norm=1.0, on_non_finite=on_non_finite)
        for step in range(6):
            optimizer.zero_grad()
            loss = model(torch.ones(1, 2)).sum()
            (loss * math.nan if step == 4 else loss).backward()
            optimizer.step()
            run.saved(run.step, f"/checkpoints/{run.step}.pt")

    @pytest.mark.parametrize(("on_non_finite", "spoiled"), [("keep", [5, 6]), ("skip", [])])
    def test_a_step_that_was_made_with_a_nan_spoils_what_is_saved_after_it(self, on_non_finite, spoiled):
        transport = MemoryTransport()
        run = init(url=transport)
        self.train(run, on_non_finite)
        run.finish()
        verdicts = {step: transport.checkpoints[f"/checkpoints/{step}.pt"]["clean"] for step in range(1, 7)}
        assert verdicts == {step: step not in spoiled for step in range(1, 7)}

    @pytest.mark.parametrize(("on_non_finite", "spared"), [("keep", 4), ("skip", 6)])
    def test_a_rotation_spares_the_newest_one_before_it(self, on_non_finite, spared):
        run = init(mode="disabled")
        self.train(run, on_non_finite)
        assert [step for step in range(1, 7) if not run.may_delete(f"/checkpoints/{step}.pt")] == [spared]
