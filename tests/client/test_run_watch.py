"""``run.watch``: which optimizer belongs to which monitor, however often a notebook's cell is run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import gradvitals
from gradvitals import ClipByLayerNorm, ConfigurationError, MemoryTransport, NonFiniteGradientError
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP
from gradvitals.monitor import monitor_of


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "GRADVITALS_RUN_ID", "RANK", "WORLD_SIZE", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


class Weight(nn.Module):
    """A weight of two elements whose gradient a test sets; with (3, 4) the norm is 5."""

    def __init__(self, elements: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(elements))


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def take_step(model: Weight, optimizer: torch.optim.Optimizer, *gradient: float) -> float:
    """Make a step, and say what norm the gradient had then."""
    model.weight.grad = torch.tensor(gradient or (3.0, 4.0))
    optimizer.step()
    return model.weight.grad.norm().item()


def told(capsys) -> list[str]:
    return [line.removeprefix("gradvitals: ") for line in capsys.readouterr().err.splitlines()]


class TestTheSameOptimizer:
    def test_watched_again_keeps_its_monitor_and_its_settings(self, transport, capsys):
        model = Weight()
        optimizer = sgd(model)
        with gradvitals.init(url=transport) as run:
            monitor = run.watch(model, optimizer, max_norm=1.0)
            told(capsys)
            assert run.watch(model, optimizer, max_norm=2.0) is monitor
            assert told(capsys) == ["this optimizer is watched already, as main: its settings stay as they are"]
            assert take_step(model, optimizer) == pytest.approx(1.0)
        assert len(optimizer._optimizer_step_pre_hooks) == 1
        assert len(transport.frames()) == 1

    def test_in_a_wrapper_is_the_same(self, transport):
        class Wrapper(torch.optim.Optimizer):
            def __init__(self, optimizer):
                self.optimizer = optimizer

        model = Weight()
        optimizer = sgd(model)
        with gradvitals.init(url=transport) as run:
            assert run.watch(model, optimizer) is run.watch(model, Wrapper(optimizer))

    def test_is_taken_over_by_a_second_run_with_one_hook_and_one_line(self, transport, capsys):
        model, first_transport = Weight(), MemoryTransport()
        optimizer = sgd(model)
        first = gradvitals.init(url=first_transport)
        first.watch(model, optimizer, max_norm=1.0)
        take_step(model, optimizer)
        with gradvitals.init(url=transport) as second:
            told(capsys)
            second.watch(model, optimizer, max_norm=2.5)
            assert (
                told(capsys)[0] == "this optimizer was watched by another run, which gets no more of its steps (main)"
            )
            assert len(optimizer._optimizer_step_pre_hooks) == len(optimizer._optimizer_step_post_hooks) == 1
            assert take_step(model, optimizer) == pytest.approx(2.5)
        first.finish()
        assert len(first_transport.frames()) == len(transport.frames()) == 1

    def test_of_a_finished_run_is_watched_by_the_next_without_a_word(self, transport, capsys):
        model = Weight()
        optimizer = sgd(model)
        with gradvitals.init(url=MemoryTransport()) as first:
            first.watch(model, optimizer, max_norm=1.0)
        told(capsys)
        with gradvitals.init(url=transport) as second:
            second.watch(model, optimizer, max_norm=2.5)
            assert [line for line in told(capsys) if "another run" in line] == []
            assert take_step(model, optimizer) == pytest.approx(2.5)
        assert len(optimizer._optimizer_step_pre_hooks) == 1

    def test_may_be_watched_again_after_its_monitor_was_closed(self, transport):
        model = Weight()
        optimizer = sgd(model)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0).close()
            assert take_step(model, optimizer) == 5.0
            run.watch(model, optimizer, max_norm=1.0, name="main")
            assert take_step(model, optimizer) == pytest.approx(1.0)
        assert [frame.step for frame in transport.frames()] == [0]


class TestAnOptimizerMadeAnew:
    @pytest.mark.parametrize("new_model", [False, True])
    def test_for_the_same_layers_continues_the_monitor_of_its_name(self, transport, new_model):
        model = Weight()
        former = sgd(model)
        with gradvitals.init(url=transport, step=100) as run:
            run.watch(model, former, max_norm=1.0, name="generator")
            take_step(model, former)
            model = Weight() if new_model else model
            optimizer = torch.optim.AdamW(model.parameters())
            monitor = run.watch(model, optimizer, max_norm=2.5, name="generator")
            assert run.step == monitor.step == 101
            assert take_step(model, optimizer) == pytest.approx(2.5)
        frames = transport.frames("generator")
        assert [(frame.step, frame.max_norm) for frame in frames] == [(100, 1.0), (101, 2.5)]
        (body,) = transport.attempts.values()
        assert body["monitors"]["generator"]["optimizer"] == "AdamW"

    def test_for_some_of_the_same_parameters_does_too(self, transport):
        model = nn.ModuleDict({"first": Weight(), "second": Weight()})
        with gradvitals.init(url=transport) as run:
            run.watch(model, sgd(model), name="main")
            run.watch(model, sgd(model["second"]), name="main")  # the first is frozen for good

    def test_for_other_layers_is_refused_under_that_name(self, transport):
        model, other = Weight(), Weight(3)
        with gradvitals.init(url=transport) as run:
            run.watch(model, sgd(model), name="critic")
            with pytest.raises(ConfigurationError, match="name is 'critic', which another monitor of this run has"):
                run.watch(other, sgd(other), name="critic")

    def test_the_former_one_still_clips_and_is_not_recorded(self, transport, capsys):
        model = Weight()
        former, optimizer = sgd(model), sgd(model)
        with gradvitals.init(url=transport) as run:
            run.watch(model, former, max_norm=1.0, name="main")
            run.watch(model, optimizer, max_norm=1.0, name="main")
            assert take_step(model, former) == pytest.approx(1.0)
            take_step(model, optimizer)
        assert [frame.step for frame in transport.frames()] == [0]

    def test_a_mistake_in_its_settings_leaves_the_former_one_recorded(self, transport):
        model = Weight()
        former = sgd(model)
        with gradvitals.init(url=transport) as run:
            run.watch(model, former, max_norm=1.0, name="main")
            with pytest.raises(ConfigurationError):
                run.watch(model, sgd(model), max_norm=-1.0, name="main")
            take_step(model, former)
        assert len(transport.frames()) == 1

    def test_without_its_name_is_a_monitor_of_its_own(self, transport):
        model = Weight()
        with gradvitals.init(url=transport) as run:
            names = [run.watch(model, sgd(model)).name for _ in range(3)]
        assert names == ["main", "main-2", "main-3"]

    def test_the_name_it_gets_is_one_that_nobody_gave(self, transport):
        models = [Weight(elements) for elements in (1, 2, 3)]
        with gradvitals.init(url=transport) as run:
            run.watch(models[0], sgd(models[0]))
            run.watch(models[1], sgd(models[1]), name="main-3")
            assert run.watch(models[2], sgd(models[2])).name not in ("main", "main-3")


class TestMistakes:
    @pytest.mark.parametrize("name", [None, "critic"])
    def test_swapped_arguments_are_refused_in_words_under_any_name(self, transport, name):
        model = Weight()
        with gradvitals.init(url=transport) as run:
            run.watch(model, sgd(model), name="critic")
            with pytest.raises(ConfigurationError, match=r"model must be a torch\.nn\.Module, not SGD"):
                run.watch(sgd(model), model, name=name)

    def test_leave_nothing_watched(self, transport):
        model = Weight()
        optimizer = sgd(model)
        with gradvitals.init(url=transport) as run:
            with pytest.raises(ConfigurationError):
                run.watch(model, optimizer, max_norm=1.0, clip_value=1.0)
            assert monitor_of(optimizer) is None
            assert run.watch(model, optimizer, max_norm=1.0).name == "main"


class TestWhatIsPassedOn:
    """Each of these reaches the frames that are sent."""

    def test_a_strategy_is_told_by_its_name(self, transport, capsys):
        def halve(gradients, norms):
            torch._foreach_mul_(gradients, 0.5)

        for strategy, name in ((halve, "halve"), (ClipByLayerNorm(2.5), "ClipByLayerNorm")):
            model = Weight()
            optimizer = sgd(model)
            with gradvitals.init(url=MemoryTransport()) as run:
                run.watch(model, optimizer, strategy=strategy)
                assert f"clipping 1 layer of main (SGD) by {name}" in capsys.readouterr().err
                assert take_step(model, optimizer) == pytest.approx(2.5)

    def test_groups_are_the_layers_that_are_declared(self, transport):
        model = nn.ModuleDict({"first": Weight(), "second": Weight()})
        optimizer = sgd(model)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, group_by="*")
            take_step(model["first"], optimizer)
        (frame,) = transport.frames()
        assert [(layer.name, layer.numel) for layer in frame.layout.layers] == [("first", 2), ("second", 2)]
        assert frame.layer_norms.tolist() == [5.0, 0.0]

    def test_a_skipped_step_is_sent_with_its_flag_and_counts(self, transport):
        model = Weight()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        with gradvitals.init(url=transport) as run:
            monitor = run.watch(model, optimizer, max_norm=1.0, on_non_finite="skip")
            take_step(model, optimizer)
            before = model.weight.tolist()
            take_step(model, optimizer, math.nan, 4.0)
            assert model.weight.tolist() == before
            assert monitor.last_healthy_step == 0
        assert [frame.flags for frame in transport.frames()] == [0, FLAG_NON_FINITE | FLAG_SKIPPED_STEP]
        assert transport.frames()[1].non_finite == [(0, 1, 0)]

    def test_an_error_of_the_policys_is_the_runs_last_word(self, transport):
        model = Weight()
        optimizer = sgd(model)

        def train():
            with gradvitals.init(url=transport) as run:
                run.watch(model, optimizer, on_non_finite="raise")
                take_step(model, optimizer, math.nan, 4.0)

        with pytest.raises(NonFiniteGradientError):
            train()
        (body,) = transport.attempts.values()
        assert (body["state"], body["exception"]) == ("failed", "NonFiniteGradientError")
        assert transport.frames()[0].flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP

    def test_a_step_that_a_scaler_skips_is_sent_with_the_loss_scale(self, transport):
        model = Weight()
        optimizer = sgd(model)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0, scaler=scaler)
            for factor in (1.0, math.inf, 1.0):
                optimizer.zero_grad()
                scaler.scale(factor * (torch.tensor([3.0, 4.0]) * model.weight).sum()).backward()
                scaler.step(optimizer)
                scaler.update()
        frames = transport.frames()
        assert [frame.step for frame in frames] == [0, 1, 2]
        assert [frame.loss_scale for frame in frames] == [1024.0, 1024.0, 512.0]
        assert [frame.flags for frame in frames] == [0, FLAG_NON_FINITE | FLAG_SKIPPED_STEP, 0]
        assert [frames[0].global_norm, frames[2].global_norm] == [5.0, 5.0]
