"""Run: steps and logged values become frames, the end is told, and training is never touched."""

from __future__ import annotations

import copy
import math
import pickle
import random
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import gradvitals
from gradvitals import ConfigurationError, MemoryTransport
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SEAM
from gradvitals.monitor import Monitor
from gradvitals.run import close_open_runs


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "GRADVITALS_RUN_ID", "RANK", "WORLD_SIZE", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


def model_with_gradient() -> tuple[nn.Linear, torch.optim.SGD]:
    """A weight of two elements whose gradients a test sets; with (3, 4) the norm is 5."""
    model = nn.Linear(2, 1, bias=False)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def take_step(model, optimizer, *gradient: float) -> None:
    model.weight.grad = torch.tensor([gradient or (3.0, 4.0)])
    optimizer.step()


class TestFrames:
    def test_each_step_is_a_frame(self, transport):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0)
            take_step(model, optimizer)
            take_step(model, optimizer, 0.3, 0.4)
        frames = transport.frames()
        assert [frame.step for frame in frames] == [0, 1]
        assert [frame.global_norm for frame in frames] == [5.0, 0.5]
        assert [frame.clip_coefficient for frame in frames] == pytest.approx([0.2, 1.0])

    def test_the_step_is_that_of_the_coming_one(self, transport):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport, step=100) as run:
            run.watch(model, optimizer)
            assert run.step == 100
            take_step(model, optimizer)
            assert run.step == 101

    def test_a_resumed_run_marks_its_seam(self, transport):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport, run_id="again", step=100) as run:
            run.watch(model, optimizer)
            take_step(model, optimizer)
            take_step(model, optimizer)
        assert [(frame.step, frame.flags) for frame in transport.frames()] == [(100, FLAG_SEAM), (101, 0)]
        assert [body["resumed_from_step"] for body in transport.attempts.values()] == [100]

    def test_a_non_finite_step_is_flagged(self, transport):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0)
            take_step(model, optimizer, math.nan, 1.0)
        assert transport.frames()[0].flags & FLAG_NON_FINITE

    def test_two_optimizers_are_two_monitors(self, transport):
        first, second = model_with_gradient(), model_with_gradient()
        with gradvitals.init(url=transport) as run:
            monitors = [run.watch(*first), run.watch(*second), run.watch(*model_with_gradient(), name="critic")]
            take_step(*first)
            take_step(*second)
        assert [monitor.name for monitor in monitors] == ["main", "main-2", "critic"]
        assert len(transport.frames("main")) == len(transport.frames("main-2")) == 1

    def test_watching_an_optimizer_again_returns_its_monitor(self, transport, capsys):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport) as run:
            monitor = run.watch(model, optimizer, max_norm=1.0)
            assert run.watch(model, optimizer, max_norm=2.0) is monitor
            take_step(model, optimizer)
        assert monitor.max_norm == 1.0
        assert len(transport.frames()) == 1
        assert "watched already, as main" in capsys.readouterr().err

    @pytest.mark.parametrize("limit", [np.float32(0.5), torch.tensor(0.5), "0.5"])
    def test_a_limit_of_any_kind_is_told_as_a_number(self, transport, limit):
        with gradvitals.init(url=transport) as run:
            run.watch(*model_with_gradient(), clip_value=limit)
            run.watch(*model_with_gradient(), max_norm=limit)
        (body,) = transport.attempts.values()
        assert type(body["monitors"]["main"]["clip_value"]) is type(body["monitors"]["main-2"]["max_norm"]) is float

    def test_two_monitors_cannot_share_a_name(self, transport):
        other = nn.Linear(3, 1)
        with gradvitals.init(url=transport) as run:
            run.watch(*model_with_gradient(), name="critic")
            with pytest.raises(ConfigurationError, match="name is 'critic', which another monitor of this run has"):
                run.watch(other, torch.optim.SGD(other.parameters()), name="critic")

    def test_another_rank_than_the_first_tells_its_step_and_sends_no_frame(self, transport, monkeypatch):
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport, run_id="shared") as run:
            run.watch(model, optimizer)
            take_step(model, optimizer)
        (body,) = transport.attempts.values()
        assert (body["rank"], body["last_step"], body["monitors"]["main"]["made"]) == (1, 0, 0)
        assert transport.frames() == []


class TestLogging:
    @pytest.fixture
    def training(self, transport):
        model, optimizer = model_with_gradient()
        run = gradvitals.init(url=transport)
        run.watch(model, optimizer)
        yield run, lambda: take_step(model, optimizer)
        run.finish()

    def test_what_is_logged_before_a_step_joins_it(self, training, transport):
        run, step = training
        run.log(loss=0.5)
        step()
        run.log(loss=0.25)
        step()
        run.finish()
        assert [frame.loss for frame in transport.frames()] == [0.5, 0.25]

    def test_what_is_not_logged_is_absent(self, training, transport):
        run, step = training
        run.log(accuracy=0.5)
        step()
        step()
        run.finish()
        assert [(frame.loss, frame.scalars) for frame in transport.frames()] == [(None, {"accuracy": 0.5}), (None, {})]

    def test_several_values_in_a_step_are_their_mean(self, training, transport):
        run, step = training
        run.log(loss=1.0)
        run.log(loss=2.0)
        step()
        run.finish()
        assert transport.frames()[0].loss == 1.5

    def test_a_step_can_be_named_afterwards(self, training, transport):
        run, step = training
        step()
        step()
        run.log(loss=0.5, step=0)
        run.log({"val/accuracy": 0.25}, step=1)
        run.finish()
        assert [(frame.loss, frame.scalars) for frame in transport.frames()] == [
            (0.5, {}),
            (None, {"val/accuracy": 0.25}),
        ]

    def test_a_named_step_is_that_of_the_monitor_watched_first(self, transport):
        generator, critic = model_with_gradient(), model_with_gradient()
        with gradvitals.init(url=transport) as run:
            run.watch(*generator, name="generator")
            run.watch(*critic, name="critic")
            for step in range(2):
                take_step(*critic)
                take_step(*critic)
                take_step(*generator)
                run.log(loss=0.5, step=step)
        assert [frame.loss for frame in transport.frames("generator")] == [0.5, 0.5]
        assert [frame.loss for frame in transport.frames("critic")] == [None] * 4

    def test_the_last_value_joins_the_newest_frame_when_the_first_monitor_has_stopped(self, transport):
        first, second = model_with_gradient(), model_with_gradient()
        with gradvitals.init(url=transport) as run:
            run.watch(*first)
            run.watch(*second)
            take_step(*first)
            assert transport.wait_for_frames(1)
            for _ in range(3):
                take_step(*second)
            run.log(loss=0.5)
        assert [frame.loss for frame in transport.frames("main-2")] == [None, None, 0.5]

    def test_the_coming_step_can_be_named_too(self, training, transport):
        run, step = training
        run.log(loss=0.5, step=0)
        step()
        run.finish()
        assert transport.frames()[0].loss == 0.5

    def test_the_last_value_is_not_lost(self, training, transport):
        run, step = training
        step()
        run.log(accuracy=0.75)
        run.finish()
        assert transport.frames()[0].scalars == {"accuracy": 0.75}

    def test_a_value_for_a_step_that_is_gone_is_told_once(self, training, transport, capsys):
        run, step = training
        step()
        assert transport.wait_for_frames(1)
        run.log(loss=1.0, step=0)
        run.log(loss=1.0, step=0)
        assert capsys.readouterr().err.count("came too late") == 1

    def test_what_is_not_a_number_is_told_once_and_does_not_raise(self, training, transport, capsys):
        run, step = training
        for _ in range(2):
            run.log(picture=[1, 2], loss=0.5)
            step()
        run.finish()
        assert capsys.readouterr().err.count("'picture' is list") == 1
        assert [frame.loss for frame in transport.frames()] == [0.5, 0.5]

    def test_a_wrong_name_costs_only_itself(self, training, transport, capsys):
        run, step = training
        run.log({7: 1.0, "x" * 513: 1.0, "loss": 0.5})
        step()
        run.finish()
        assert (transport.frames()[0].loss, transport.frames()[0].scalars) == (0.5, {})
        assert "a logged name is 7" in capsys.readouterr().err

    def test_a_batch_id_joins_the_frame_of_its_step(self, training, transport):
        run, step = training
        run.log(batch_id="b-17", loss=0.5)
        step()
        run.log(loss=0.25)
        step()
        run.log(batch_id=18, step=1)
        run.finish()
        assert [(frame.batch_id, frame.scalars) for frame in transport.frames()] == [("b-17", {}), ("18", {})]

    def test_what_names_no_batch_is_told_once_and_costs_only_itself(self, training, transport, capsys):
        run, step = training
        for batch_id in (1.5, [17], "b" * 513):
            run.log(batch_id=batch_id, loss=0.5)
            step()
        run.finish()
        assert capsys.readouterr().err.count("batch_id") == 1
        assert [(frame.batch_id, frame.loss) for frame in transport.frames()] == [(None, 0.5)] * 3

    def test_what_is_not_a_number_takes_no_name_from_the_others(self, training, transport):
        run, step = training
        run.log({f"picture {k}": [1, 2] for k in range(64)})
        run.log(accuracy=0.5)
        step()
        run.finish()
        assert transport.frames()[0].scalars == {"accuracy": 0.5}

    def test_a_known_name_that_had_to_be_cleaned_is_kept_when_no_new_one_would_be(self, training, transport):
        run, step = training
        run.log({f"metric {k}": k for k in range(63)})
        for _ in range(2):
            run.log({"a\0b": 1.0})
            step()
        run.finish()
        assert transport.frames()[1].scalars == {"a\ufffdb": 1.0}

    def test_nothing_that_is_passed_raises(self, training, capsys):
        run, _ = training
        run.log(loss=1.0, step="x")
        run.log({1: 2.0})
        run.log({"": 2.0})
        run.log(7)
        assert "run.log" in capsys.readouterr().err

    def test_a_sixty_fifth_name_is_told_and_not_kept(self, training, transport, capsys):
        run, step = training
        run.log({f"metric {k}": k for k in range(65)}, loss=1.0)
        step()
        run.finish()
        assert len(transport.frames()[0].scalars) == 64
        assert transport.frames()[0].loss == 1.0
        assert "64 names" in capsys.readouterr().err


class TestTheEnd:
    def end(self, transport) -> dict:
        (body,) = transport.attempts.values()
        return body

    def test_finishing_is_told_with_the_frames_made(self, transport):
        model, optimizer = model_with_gradient()
        run = gradvitals.init(url=transport)
        run.watch(model, optimizer, max_norm=1.0)
        take_step(model, optimizer)
        run.finish()
        assert self.end(transport)["state"] == "finished"
        assert self.end(transport)["monitors"]["main"] == {
            "made": 1,
            "spooled": 0,
            "lost": 0,
            "optimizer": "SGD",
            "max_norm": 1.0,
            "clip_value": None,
            "norm_type": 2.0,
        }

    def test_an_exception_in_the_block_is_told_by_its_type_and_passes_on(self, transport):
        with pytest.raises(ZeroDivisionError), gradvitals.init(url=transport):
            raise ZeroDivisionError
        assert (self.end(transport)["state"], self.end(transport)["exception"]) == ("failed", "ZeroDivisionError")

    @pytest.mark.parametrize(("code", "state"), [(0, "finished"), (None, "finished"), (1, "failed")])
    def test_leaving_the_interpreter_is_a_failure_only_with_a_code(self, transport, code, state):
        with pytest.raises(SystemExit), gradvitals.init(url=transport):
            raise SystemExit(code)
        assert self.end(transport)["state"] == state

    def test_finishing_twice_is_finishing_once(self, transport):
        run = gradvitals.init(url=transport)
        run.finish()
        count = len(transport.requests)
        run.finish()
        assert len(transport.requests) == count

    def test_later_steps_still_clip_and_are_not_recorded(self, transport):
        model, optimizer = model_with_gradient()
        run = gradvitals.init(url=transport)
        run.watch(model, optimizer, max_norm=1.0)
        run.finish()
        take_step(model, optimizer)
        assert model.weight.grad.norm().item() == pytest.approx(1.0)
        assert transport.frames() == []

    def test_at_the_interpreters_end_one_hanging_service_holds_up_no_other_run(self, transport):
        class Hanging(MemoryTransport):
            released = threading.Event()

            def declare_run(self, run_id, body):
                self.released.wait(10)
                return super().declare_run(run_id, body)

        for _ in range(8):  # runs are ended in no particular order
            gradvitals.init(url=Hanging())
        gradvitals.init(url=transport)
        close_open_runs("finished", None, 1.0)
        Hanging.released.set()
        assert self.end(transport)["state"] == "finished"

    def test_a_pause_is_told_while_it_lasts(self, transport):
        run = gradvitals.init(url=transport)
        assert transport.wait_for("attempt", 1)
        with run.pause("eval"):
            assert transport.wait_for("attempt", 2)
            assert self.end(transport)["state"] == "paused"
        assert transport.wait_for("attempt", 3)
        assert self.end(transport)["state"] == "running"
        run.finish()

    def test_a_finished_run_watches_nothing_more(self, transport):
        run = gradvitals.init(url=transport)
        run.finish()
        with pytest.raises(ConfigurationError, match="finished"):
            run.watch(*model_with_gradient())


class TestTold:
    def test_what_is_clipped_and_how_it_went(self, transport, capsys):
        model, optimizer = model_with_gradient()
        run = gradvitals.init(url=transport)
        run.watch(model, optimizer, max_norm=1.0)
        take_step(model, optimizer)
        take_step(model, optimizer, 0.3, 0.4)
        run.finish()
        assert capsys.readouterr().err.splitlines() == [
            "gradvitals: clipping 1 layer of main (SGD) with max_norm=1: "
            "remove your own clipping, or this one by leaving out max_norm",
            "gradvitals: 2 steps, 50.0 % clipped, largest global norm 5 at step 0, no events; everything was sent",
        ]

    def test_a_service_that_is_not_there_is_one_line(self, capsys):
        run = gradvitals.init()
        run.finish()
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert "no service is known" in lines[0]

    def test_offline_says_where_frames_are_kept_and_what_sends_them(self, capsys, spool_folder):
        gradvitals.init(mode="offline").finish()
        said = capsys.readouterr().err
        assert f"frames are kept in {spool_folder}; `gradvitals sync` sends them" in said

    def test_offline_without_a_spool_says_plainly_that_nothing_is_kept(self, capsys, monkeypatch):
        monkeypatch.setenv("GRADVITALS_SPOOL_MIB", "0")
        gradvitals.init(mode="offline").finish()
        assert "frames are held in memory only and end with this process" in capsys.readouterr().err

    def test_quiet_is_quiet(self, transport, capsys, monkeypatch):
        monkeypatch.setenv("GRADVITALS_QUIET", "1")
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0)
        assert capsys.readouterr().err == ""


class TestHarmless:
    def test_random_state_is_untouched(self, transport):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
        model, optimizer = model_with_gradient()
        torch.set_rng_state(before[0])
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0)
            take_step(model, optimizer)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.random.get_state()[1].tolist() == before[2]

    def test_a_fault_while_taking_a_frame_does_not_reach_the_training(self, transport, capsys):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport) as run:
            monitor = run.watch(model, optimizer, max_norm=1.0)
            run.submit(monitor, None)
            run.submit(monitor, None)
        assert capsys.readouterr().err.count("a fault in gradvitals") == 1

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
    def test_a_trainer_that_holds_a_run_can_be_copied_and_the_copy_sends_nothing(self, transport, copied):
        model, optimizer = model_with_gradient()
        with gradvitals.init(url=transport, step=7) as run:
            monitor = run.watch(model, optimizer, max_norm=1.0)
            take_step(model, optimizer)
            trainer = copied({"run": run, "monitor": monitor, "model": model, "optimizer": optimizer})
            trainer["run"].log(loss=1.0)
            take_step(trainer["model"], trainer["optimizer"])
            assert (trainer["run"].run_id, trainer["run"].step) == (run.run_id, 8)
            trainer["run"].watch(trainer["model"], trainer["optimizer"], max_norm=1.0)
            take_step(trainer["model"], trainer["optimizer"])
            trainer["run"].finish()
        assert trainer["model"].weight.grad.norm().item() == pytest.approx(1.0)
        assert [(frame.step, frame.loss) for frame in transport.frames()] == [(7, None)]

    def test_disabled_has_the_same_objects_and_still_clips(self, capsys):
        threads = threading.active_count()
        model, optimizer = model_with_gradient()
        with gradvitals.init(mode="disabled") as run:
            run.watch(model, optimizer, max_norm=1.0)
            run.log(loss=1.0)
            with run.pause("eval"):
                take_step(model, optimizer)
            assert (run.url, run.step, threading.active_count()) == (None, 1, threads)
        assert model.weight.grad.norm().item() == pytest.approx(1.0)
        take_step(model, optimizer)
        assert model.weight.grad.norm().item() == pytest.approx(1.0)
        assert capsys.readouterr().err == ""


def test_the_heartbeat_carries_the_overhead_of_every_monitor(transport):
    with gradvitals.init(url=transport) as run:
        monitors = []
        for name in ("generator", "discriminator"):
            model, optimizer = model_with_gradient()
            monitors.append(run.watch(model, optimizer, name=name))
            for _ in range(40):
                take_step(model, optimizer)
        observer = run.observer(name="elsewhere")
        observer.observe(1.0)
    (attempt,) = transport.attempts.values()
    assert attempt["overhead"] == pytest.approx(min(sum(monitor.overhead for monitor in monitors), 1.0))
    assert attempt["overhead"] > max(monitor.overhead for monitor in monitors) or attempt["overhead"] == 1.0


def test_the_heartbeat_tells_a_limit_as_it_is_now(transport):
    with gradvitals.init(url=transport) as run:
        model, optimizer = model_with_gradient()
        monitor = run.watch(model, optimizer, max_norm=1.0)
        take_step(model, optimizer)
        monitor.max_norm = 0.25
        take_step(model, optimizer)
    (attempt,) = transport.attempts.values()
    assert attempt["monitors"]["main"]["max_norm"] == 0.25


def test_a_device_that_has_stopped_is_waited_for_once_and_not_once_for_each_monitor(transport, monkeypatch):
    monkeypatch.setattr("gradvitals.run.DRAIN_SECONDS", 0.2)
    waits = []
    monkeypatch.setattr(Monitor, "drain", lambda monitor, timeout: (waits.append(timeout), time.sleep(timeout)))
    with gradvitals.init(url=transport) as run:
        for name in ("one", "two", "three"):
            run.watch(*model_with_gradient(), name=name)
    assert len(waits) == 3
    assert sum(waits) < 0.3
