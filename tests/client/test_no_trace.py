"""Once closed a monitor leaves no trace; while it watches, state, copies and memory are what they are without it.

Each way to train is held against a twin that torch trains alone.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import logging
import math
import pickle
import random
import signal
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest
import torch
from client.injecting import Injection, injected, place_named
from client.looping import Collector
from client.ways_to_train import FUSED, LIMIT, NOT_FINITE, SETTINGS, Setting, Training
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

import gradvitals
from gradvitals import MemoryTransport
from gradvitals.monitor import Monitor, monitor_of

WAYS = ["plain", "folded into a fused step", "a scaler", "a scaler and a fused step", "a scaler without the hook"]
WAYS += [
    "skip",
    "skip a fused step",
    "raise",
    "a closure",
    "a step that raises",
    "by value",
    "by a function",
    "growing",
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "GRADVITALS_RUN_ID", "RANK", "WORLD_SIZE", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))


def attributes_of(thing: object) -> dict[str, object]:
    """The names of all attributes, and what kind of thing or how many hooks each is."""
    return {
        name: len(value) if name.endswith("hooks") and value is not None else type(value)
        for name, value in vars(thing).items()
    }


def looks_of(training: Training) -> list[object]:
    """All that could be seen on the user's own objects."""
    optimizer = training.optimizer
    things = [*training.model.modules(), *training.model.parameters(), optimizer]
    things += [] if training.scaler is None else [training.scaler]
    hooks = [(p._backward_hooks, p._post_accumulate_grad_hooks) for p in training.model.parameters()]
    groups = [sorted(group) for group in optimizer.param_groups]
    states = [sorted(optimizer.state[parameter]) for parameter in optimizer.state]
    return [*map(attributes_of, things), hooks, groups, states, optimizer.state_dict().keys()]


def what_all_share() -> list[object]:
    """Classes of torch's, and what there is once in a process."""
    classes = (torch.Tensor, nn.Module, nn.Parameter, torch.optim.Optimizer, torch.optim.SGD, torch.optim.AdamW)
    functions = (torch.nn.utils.clip_grad_norm_, torch.amp.GradScaler.step, sys.excepthook, threading.excepthook)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return [
        [{name: id(value) for name, value in vars(kind).items()} for kind in classes],
        [id(function) for function in functions],
        handlers,
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        len(_global_optimizer_pre_hooks) + len(_global_optimizer_post_hooks),
        list(logging.root.handlers),
        list(warnings.filters),
        np.geterr(),
        [thread.name for thread in threading.enumerate()],
    ]


def random_states() -> list[object]:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]


def train_with_us(training: Training) -> None:
    training.with_run(gradvitals.init(url=MemoryTransport()), contextlib.nullcontext())


class TestAfterClose:
    @pytest.mark.parametrize("name", WAYS)
    def test_the_users_objects_look_as_without_us(self, name):
        training, twin = Training(SETTINGS[name]), Training(SETTINGS[name])
        train_with_us(training)
        twin.alone()
        assert looks_of(training) == looks_of(twin)

    @pytest.mark.parametrize("name", WAYS)
    def test_nothing_in_the_process_has_changed(self, name):
        training, twin = Training(SETTINGS[name]), Training(SETTINGS[name])
        twin.alone()  # torch itself changes its classes when they are first used
        before = what_all_share(), random_states()
        train_with_us(training)
        assert what_all_share() == before[0]
        assert random_states() == before[1]

    @pytest.mark.parametrize("first", [0, 1])
    def test_two_monitors_of_one_scaler_leave_none_of_it_in_either_order(self, first):
        one, other = Training(SETTINGS["a scaler"]), Training(SETTINGS["a scaler and a fused step"])
        other.scaler = one.scaler
        before = looks_of(one), looks_of(other)
        run = gradvitals.init(url=MemoryTransport())
        monitors = [run.watch(both.model, both.optimizer, scaler=one.scaler, max_norm=LIMIT) for both in (one, other)]
        run.finish()
        monitors[first].close()
        monitors[1 - first].close()
        assert (looks_of(one), looks_of(other)) == before

    @pytest.mark.parametrize("step", ["skipped", "raised in"])
    def test_a_step_that_did_not_end_leaves_nothing_either(self, step):
        """Closed before the next step could tidy up: a fold that was told, gradients that were hidden."""
        training = Training(Setting(optimizer=FUSED, raises_at=0))
        run = gradvitals.init(url=MemoryTransport())
        monitor = run.watch(training.model, training.optimizer, max_norm=LIMIT, on_non_finite="skip")
        training.optimizer.register_step_pre_hook(training.raise_at_that_step)
        training.take_step(0, float("nan") if step == "skipped" else 0.3)
        monitor.close()
        run.finish()
        assert "grad_scale" not in vars(training.optimizer)
        assert all(parameter.grad is not None for parameter in training.model.wide.parameters())
        assert len(training.optimizer._optimizer_step_pre_hooks) == 1  # the user's
        assert not training.optimizer._optimizer_step_post_hooks

    def test_not_even_a_fault_while_closing_keeps_the_clip_on(self):
        training = Training(SETTINGS["plain"])
        run = gradvitals.init(url=MemoryTransport())
        monitor = run.watch(training.model, training.optimizer, max_norm=LIMIT)
        with injected(Injection(place_named("step_hook.StepHook.remove"), RuntimeError())):
            monitor.close()
        training.model.set_gradients(1.0)
        gradient = training.model.wide.weight.grad.clone()
        training.optimizer.step()
        assert torch.equal(training.model.wide.weight.grad, gradient)
        run.finish()


class TestWhileWatched:
    """What is put on the user's objects is what the docs say, and nothing more."""

    @pytest.mark.parametrize("name", WAYS)
    def test_there_are_two_hooks_on_the_optimizer_and_a_step_on_the_scaler(self, name):
        twin, training = Training(SETTINGS[name]), Training(SETTINGS[name])
        run = gradvitals.init(url=MemoryTransport())
        training.start_watching(run)
        expected = looks_of(twin)
        hooked = training.setting.watch.get("hook", True)
        of_optimizer = len(list(twin.model.modules())) + len(list(twin.model.parameters()))
        if hooked:
            expected[of_optimizer] |= {"_optimizer_step_pre_hooks": 1, "_optimizer_step_post_hooks": 1}
        if hooked and twin.scaler is not None:
            expected[of_optimizer + 1] |= {"step": type(vars(training.scaler)["step"])}
        assert looks_of(training) == expected
        run.finish()

    @pytest.mark.parametrize("name", WAYS)
    def test_no_gradient_lives_longer_than_the_users(self, name):
        training = Training(SETTINGS[name])
        run = gradvitals.init(url=MemoryTransport())
        monitor = training.start_watching(run)
        training.optimizer.register_step_pre_hook(training.raise_at_that_step)
        clip = monitor.clip_ if training.setting.watch.get("hook") is False else lambda: None
        gc.disable()
        try:
            for number, factor in enumerate(training.setting.factors):
                training.take_step(number, factor, clip)
                gradients = [weakref.ref(p.grad) for p in training.model.parameters() if p.grad is not None]
                assert gradients
                training.optimizer.zero_grad()
                assert [gradient() for gradient in gradients if gradient() is not None] == []
        finally:
            gc.enable()
        run.finish()


class TestCopies:
    """A copy is the user's object as it is without us: it steps, and is neither watched nor clipped."""

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
    @pytest.mark.parametrize("within", [False, True], ids=["between two steps", "in the middle of a step"])
    @pytest.mark.parametrize("name", ["plain", "folded into a fused step", "by value", "a closure"])
    def test_of_model_and_optimizer(self, name, within, copied):
        training, copies = Training(SETTINGS[name]), []
        run = gradvitals.init(url=MemoryTransport())
        run.watch(training.model, training.optimizer, **training.setting.watch)
        take = lambda *_: copies.append(copied((training.model, training.optimizer)))  # noqa: E731
        handle = training.optimizer.register_step_pre_hook(take) if within else None
        training.take_step(0, 0.3)
        if handle is None:
            take()
        else:
            handle.remove()
        twin = Training(SETTINGS[name])
        twin.model, twin.optimizer = copies[0]
        before = training.model.wide.weight.clone()
        twin.take_step(1, 0.3)
        assert twin.model.wide.weight.grad.norm() > 10 * LIMIT
        assert torch.equal(training.model.wide.weight, before)
        assert monitor_of(twin.optimizer) is None
        training.take_step(1, 0.3)
        assert training.model.wide.weight.grad.norm() < 2 * LIMIT or name == "by value"
        run.finish()

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda scaler: pickle.loads(pickle.dumps(scaler))])
    def test_of_a_scaler(self, copied):
        training = Training(SETTINGS["a scaler"])
        run = gradvitals.init(url=MemoryTransport())
        training.start_watching(run)
        training.take_step(0, 0.3)
        twin = copied(training.scaler)
        assert twin.state_dict() == training.scaler.state_dict()
        run.finish()

    @pytest.mark.parametrize("name", ["plain", "folded into a fused step", "skip"])
    def test_a_state_dict_can_be_saved_and_loaded_and_has_nothing_of_ours(self, name):
        training, twin = Training(SETTINGS[name]), Training(SETTINGS[name])
        run = gradvitals.init(url=MemoryTransport())
        monitor = training.start_watching(run)
        for each in (training, twin):
            each.take_step(0, 1e-3)
        saved = io.BytesIO()
        torch.save([training.optimizer.state_dict(), training.model.state_dict()], saved)
        saved.seek(0)
        of_optimizer, of_model = torch.load(saved, weights_only=True)
        assert of_optimizer["param_groups"] == twin.optimizer.state_dict()["param_groups"]
        assert of_model.keys() == twin.model.state_dict().keys()
        training.optimizer.load_state_dict(of_optimizer)
        training.model.load_state_dict(of_model)
        training.take_step(1, 0.3)
        assert monitor.last["step"] == 1
        assert training.model.wide.weight.grad.norm() < 2 * LIMIT
        run.finish()


class TestWhatIsDropped:
    """A run refers to what it watches: model and optimizer are free once the run is, or with it."""

    @pytest.mark.parametrize("ended", ["closed", "finished"])
    @pytest.mark.parametrize("name", ["plain", "a scaler", "raise"])
    def test_is_freed(self, name, ended):
        training = Training(SETTINGS[name])
        run = gradvitals.init(url=MemoryTransport())
        monitor = training.start_watching(run)
        for number, factor in enumerate(NOT_FINITE):
            training.take_step(number, factor)
        run.finish()
        if ended == "closed":
            monitor.close()
        freed = [weakref.ref(thing) for thing in (training.model, training.optimizer, monitor, run)]
        del training, monitor, run
        gc.collect()
        assert [reference() for reference in freed] == [None] * 4


class TestClosingWithinAStep:
    """As Lightning does where it ends a fit: its whole step is a closure."""

    @pytest.mark.parametrize("value", [1.0, math.nan], ids=["a fold", "a skip"])
    def test_leaves_that_step_and_the_next_one_unclipped_and_nothing_behind(self, value):
        model = nn.Linear(1, 1, bias=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)
        monitor = Monitor(model, optimizer, sink=Collector(), max_norm=0.01, on_non_finite="skip")

        def evaluate() -> torch.Tensor:
            model.weight.grad = torch.full((1, 1), value)
            monitor.close()
            return torch.zeros(())

        optimizer.step(evaluate)
        assert not {"grad_scale", "found_inf"} & set(vars(optimizer))
        assert model.weight.grad is not None
        with torch.no_grad():
            model.weight.zero_()
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        assert model.weight.item() == -1.0
