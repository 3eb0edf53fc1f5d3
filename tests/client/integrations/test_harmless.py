"""A fault at any function of an integration reaches neither Lightning nor the Trainer, whose training goes on."""

from __future__ import annotations

import contextlib

import pytest
import torch
from client.injecting import Injection, injected, places_of_the_client
from client.integrations import test_lightning, test_transformers
from lightning.pytorch import Callback
from transformers import TrainerCallback

from gradvitals import MemoryTransport
from gradvitals.integrations import lightning, transformers
from gradvitals.run import close_open_runs

# What begins a training may raise: a mistake in its arguments is told there. What stands in for a framework's own
# function calls it, so a fault injected in its place is that function's.
BEGINNING = ("__init__", "on_train_start", "on_train_begin", "begin", "watch", "take_over", "_limits", "_names")
STANDING_IN = ("save_and_tell", "remove_unless_spared", "log_and_backward", "tell_norm", "rotate_and_spare")
STANDING_IN += ("save_and_spare", "rotate", "<lambda>", "guarded", "harmless", "_take_over", "_take_over_rotation")
PLACES = [
    place
    for place in places_of_the_client(frozenset({"cli"}))
    if place.name.startswith("integrations.") and place.name.rpartition(".")[2] not in BEGINNING + STANDING_IN
]


@pytest.fixture(autouse=True)
def _no_run_is_left():
    """A fault where a run is ended leaves it open, until the interpreter ends; here, until the test does."""
    yield
    close_open_runs("finished", None, 5.0)


def named(place):
    return place.name.removeprefix("integrations.")


@contextlib.contextmanager
def a_fault_at(place):
    with injected(Injection(place, RuntimeError("injected"))):
        yield


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers")
@pytest.mark.parametrize("place", [place for place in PLACES if ".transformers." not in place.name], ids=named)
def test_a_fit_of_lightning_goes_on(place):
    transport, losses = MemoryTransport(), []
    with contextlib.ExitStack() as until_the_end:

        class Faulty(Callback):
            def on_train_start(self, trainer, pl_module):
                until_the_end.enter_context(a_fault_at(place))

        module = test_lightning.Regression()
        callbacks = lightning.GradvitalsCallback(url=transport), Faulty()
        test_lightning.fit(module, *callbacks, gradient_clip_val=1.0)
        losses = module.losses
    expected = test_lightning.fit(test_lightning.Regression(), gradient_clip_val=1.0).losses
    assert losses == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("place", [place for place in PLACES if ".lightning." not in place.name], ids=named)
def test_a_training_of_the_trainer_goes_on(place, tmp_path):
    transport = MemoryTransport()
    with contextlib.ExitStack() as until_the_end:

        class Faulty(TrainerCallback):
            def on_train_begin(self, *args, **kwargs):
                until_the_end.enter_context(a_fault_at(place))

        trainer = test_transformers.make_trainer(tmp_path)
        trainer.add_callback(transformers.GradvitalsCallback(trainer, url=transport))
        trainer.add_callback(Faulty())
        trainer.train()
    plain = test_transformers.train(test_transformers.make_trainer(tmp_path))
    ours, torchs = list(trainer.model.parameters()), list(plain.model.parameters())
    assert len(ours) == len(torchs) > 0
    for mine, its in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)
