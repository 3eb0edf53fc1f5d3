"""A fault at any function of the client: the training goes on, its clip is right, and a person is told once.

The functions are found by walking the package, and what a training reaches by listening. So a new function is covered
by itself, or it is missed by name in ``NEVER_REACHED``.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from client.fake_service import TOKEN, Scripted, running_service
from client.injecting import Injection, Listener, Place, injected, place_named, places_of_the_client
from client.known_places import BY_CHANCE, GUARDS, NEVER_REACHED, TELLING, TOLD_TWICE, WITHOUT_MODULES
from client.ways_to_train import FUSED, LIMIT, SETTINGS, Setting, Training
from torch import Tensor

import gradvitals
from gradvitals import ChunkRefusedError, MemoryTransport, Run, ServiceUnavailableError
from gradvitals.norms import GradientNorms, gradient_norms

INJECTED = "injected"
SENDER, SPOOL = "gradvitals-sender", "gradvitals-spool"
SUMMARY = re.compile(r"gradvitals: ([\d,]+ steps?,|no step was seen)")  # the last line, which is not about a fault


def is_one_of(place: Place, names: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(place.name, name) for name in names)


@dataclass
class Outcome:
    """What came of one training with a run."""

    parameters: list[Tensor] = field(default_factory=list)
    raised: BaseException | None = None
    told: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """The lines that tell of a fault."""
        return [line for line in self.told if INJECTED in line and not SUMMARY.match(line)]

    def is_like(self, reference: list[Tensor]) -> bool:
        return len(self.parameters) == len(reference) and all(
            torch.allclose(ours, torchs, rtol=1e-6, atol=1e-6, equal_nan=True)
            for ours, torchs in zip(self.parameters, reference, strict=True)
        )


def tried(setting: Setting, fault: AbstractContextManager[object]) -> Outcome:
    """A training with a run whose frames go to a service in memory."""
    return _tried(setting, fault, MemoryTransport(), lambda number: None)


def tried_with_trouble(setting: Setting, fault: AbstractContextManager[object], failed: threading.Event) -> Outcome:
    """The same with a service that forgets, refuses and reports, until something of ours has ``failed``."""
    service = MemoryTransport()

    def after_step(number: int) -> None:
        if failed.is_set():
            return
        service.wait_for_frames(number + 1, timeout_seconds=0.1)
        if number == 0:
            service.report("explosion", 0, "the norm is 50 times what it was")
            service.fail_next(ServiceUnavailableError("try again", retry_after=0.0), request="chunk")
        elif number == 1:
            service.forget(keep=1)
        elif number == 2:
            service.fail_next(ChunkRefusedError("no"), request="chunk")
        elif number == 3:
            service.report("non_finite", 0, "in every layer")

    return _tried(setting, fault, service, after_step)


def tried_over_http(setting: Setting, fault: AbstractContextManager[object], failed: threading.Event) -> Outcome:
    """A training with a run whose service is reached by HTTP and refuses something, as above."""

    def after_step(number: int) -> None:
        if not failed.is_set():
            service.store.forget()
            service.store.wait_for_frames(number + 1, timeout_seconds=0.1)
            service.answer_next(Scripted(503 if number % 2 else 422, headers={"Retry-After": "0"}))

    with running_service() as service:
        return _tried(setting, fault, service.url, after_step, service.store)


def _tried(
    setting: Setting,
    fault: AbstractContextManager[object],
    url: Any,
    after_step: Callable[[int], None],
    store: MemoryTransport | None = None,
) -> Outcome:
    outcome = Outcome()
    with contextlib.redirect_stderr(io.StringIO()) as stderr, pytest.MonkeyPatch.context() as patch:
        if setting.on_device:
            patch.setattr("gradvitals.monitor.gradient_norms", as_tensors)
        if setting.rank:
            patch.setenv("RANK", str(setting.rank))
            patch.setenv("WORLD_SIZE", "2")
        training, run = Training(setting), gradvitals.init(url=url)
        assert (store or url).wait_for("attempt")  # what is declared first is declared again when it is forgotten
        try:
            outcome.parameters = training.with_run(run, fault, after_step)
        except BaseException as error:  # noqa: BLE001 -- whatever comes through is what is looked for
            outcome.raised = error
        end_sender(run)
    outcome.told = stderr.getvalue().splitlines()
    return outcome


def tried_until_reached(place: Place, attempt: Callable[[Injection], Outcome]) -> tuple[Injection, Outcome]:
    """A training that comes to the place, of at most eight: which places one comes to depends on how its threads take
    turns, also in the loop, which may find a frame there still or not."""
    for _ in range(8):
        injection = Injection(place, RuntimeError(INJECTED))
        outcome = attempt(injection)
        if injection.threads:
            break
    return injection, outcome


def end_sender(run: Run) -> None:
    """Now that nothing fails any more: what is left is delivered before the next training begins."""
    run.finish()
    for thread in threading.enumerate():
        if thread.name in (SENDER, SPOOL):
            run._sender.close(10)
            thread.join(10)
            assert not thread.is_alive()


def complaints(setting: Setting, torchs: list[Tensor], injection: Injection, outcome: Outcome) -> Iterator[str]:
    """What is wrong with a training in which a place raises, and in which torch comes to other parameters."""
    place = injection.place
    if not injection.threads and not is_one_of(place, TELLING):
        yield f"{place.name} was not reached"
    if outcome.raised is not None:
        yield f"{place.name} raised {outcome.raised!r} into the training"
    elif not outcome.is_like(torchs):
        yield f"{place.name} makes parameters other than torch's"
    faults = outcome.faults()
    most = 0 if setting.rank else 2 if is_one_of(place, TOLD_TWICE) else 1
    if not min(most, 1) <= len(faults) <= most and not is_one_of(place, TELLING):
        yield f"{place.name} told {faults}"
    if any("COULD NOT BE CLIPPED" in line for line in outcome.told):
        yield f"{place.name} left gradients unclipped"


PLACES = [place for place in places_of_the_client(WITHOUT_MODULES) if not is_one_of(place, (*GUARDS, *BY_CHANCE))]
SERVICES = {"a service with troubles": tried_with_trouble, "a service over HTTP": tried_over_http}


def as_tensors(gradients: Sequence[Tensor], norm_type: float = 2.0) -> GradientNorms:
    """Norms as they are on a device."""
    norms = gradient_norms(gradients, norm_type)
    return GradientNorms(torch.tensor(norms.layer_norms), torch.tensor(norms.global_norm), norm_type)


@pytest.fixture(autouse=True, scope="module")
def _a_quick_world(tmp_path_factory):
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "RANK", "WORLD_SIZE", "SLURM_JOB_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("GRADVITALS_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setenv("GRADVITALS_TOKEN", TOKEN)
        patch.setenv("GRADVITALS_RUN_ID", "tests")
        patch.setattr("gradvitals.run.FINISH_SECONDS", 0.05)
        patch.setattr("gradvitals.pending.CHUNK_SECONDS", 0.001)
        patch.setattr("gradvitals.sender.FIRST_RETRY_SECONDS", 0.001)
        patch.setattr("gradvitals.sender.LONGEST_RETRY_SECONDS", 0.01)
        torch.set_num_threads(1)  # two would wait for each other on a busy machine
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reached() -> dict[str, set[Place]]:
    """For each setting the places that its training reaches without any fault, which the settings before did not."""
    before: set[Place] = set()
    first_here = {}
    for name, setting in SETTINGS.items():
        listener = Listener(PLACES)
        with listener.everywhere():
            outcome = tried(setting, listener.listening())
        assert outcome.raised is None
        assert outcome.is_like(Training(setting).alone())
        here = listener.reached_in("MainThread")
        first_here[name] = here if setting.thorough else here - before
        before |= here
    for name, tried_here in SERVICES.items():
        listener = Listener(PLACES)
        with listener.everywhere(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("gradvitals.run.FINISH_SECONDS", 5.0)  # for all that is to be refused, on a busy machine too
            assert tried_here(Setting(), listener.listening(), threading.Event()).raised is None
        first_here[name] = (listener.reached_in(SENDER) | listener.reached_in(SPOOL)) - before
        first_here[name] |= {place for place in listener.reached_in("MainThread") if place.name.startswith("spooled.")}
        before |= first_here[name]
    return first_here


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fault_anywhere_leaves_the_training_as_it_was_and_is_told_once(name, reached):
    setting, found = SETTINGS[name], []
    torchs = Training(setting).alone()
    for place in sorted(reached[name], key=lambda place: place.name):
        injection, outcome = tried_until_reached(place, lambda injection: tried(setting, injected(injection)))
        found += complaints(setting, torchs, injection, outcome)
    assert found == []


@pytest.mark.parametrize("name", SERVICES)
def test_so_does_a_fault_where_frames_are_sent_and_spooled(name, reached):
    setting, found = Setting(), []
    torchs = Training(setting).alone()
    for place in sorted(reached[name], key=lambda place: place.name):
        injection, outcome = tried_until_reached(
            place, lambda injection: SERVICES[name](setting, injected(injection), injection.raised)
        )
        found += complaints(setting, torchs, injection, outcome)
    assert found == []


def test_every_function_was_reached_but_those_that_are_known(reached):
    missed = [place for place in PLACES if place not in set().union(*reached.values())]
    known = [name for names in NEVER_REACHED.values() for name in names]
    assert [place.name for place in missed if not is_one_of(place, known)] == []
    assert [name for name in known if not any(is_one_of(place, [name]) for place in missed)] == []


class UsersError(Exception):
    """An error that is none of Python's own."""


class TestKindsOfFaults:
    PLACES = ("cpu_norms.cpu_norms", "monitor.Monitor._act_", "recording.Recorder.record", "run.Run.submit")

    @pytest.mark.parametrize("error", [MemoryError(INJECTED), UsersError(INJECTED), StopIteration(INJECTED)])
    @pytest.mark.parametrize("name", PLACES)
    def test_any_exception_is_caught(self, name, error):
        injection = Injection(place_named(name), error)
        outcome = tried(Setting(), injected(injection))
        assert list(complaints(Setting(), Training(Setting()).alone(), injection, outcome)) == []

    @pytest.mark.parametrize("name", PLACES)
    def test_what_is_no_exception_goes_through(self, name):
        injection = Injection(place_named(name), KeyboardInterrupt())
        assert isinstance(tried(Setting(), injected(injection)).raised, KeyboardInterrupt)

    @pytest.mark.parametrize("name", PLACES)
    def test_after_an_interrupt_the_training_can_go_on(self, name):
        ours = Training(Setting(optimizer=FUSED, factors=(0.3, 0.2)))
        run = gradvitals.init(url=MemoryTransport())
        monitor = run.watch(ours.model, ours.optimizer, max_norm=LIMIT)
        with injected(Injection(place_named(name), KeyboardInterrupt())), pytest.raises(KeyboardInterrupt):
            ours.take_step(0, 0.3)
        for number, factor in enumerate(ours.setting.factors, 1):
            ours.take_step(number, factor)
        monitor.close()
        run.finish()
        assert Outcome(ours.end()).is_like(Training(ours.setting).alone())


class TestASecondFault:
    """While the first, in measuring, is seen to."""

    @pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.thorough])
    def test_is_told_loudly_and_not_raised(self, name):
        setting = SETTINGS[name]
        torchs = Training(setting).alone()
        measuring = Injection(place_named("monitor.Monitor._measure"), RuntimeError(INJECTED))
        listener = Listener(PLACES)
        with listener.everywhere(), injected(measuring):
            outcome = tried(setting, listener.listening())
        assert outcome.raised is None
        found = []
        for place in sorted(listener.reached_in("MainThread"), key=lambda place: place.name):
            if not is_one_of(place, NEVER_REACHED["after a fault, of which this is the second"]):
                continue
            second = Injection(place, RuntimeError(INJECTED))
            with injected(measuring):
                outcome = tried(setting, injected(second))
            if outcome.raised is not None:
                found.append(f"{place.name} raised {outcome.raised!r}")
            loud = any("COULD NOT BE CLIPPED" in line for line in outcome.told)
            if not (loud or is_one_of(place, TELLING) or outcome.is_like(torchs)):
                found.append(f"{place.name} left gradients unclipped without a word")
        assert found == []


@contextlib.contextmanager
def failing(transport: MemoryTransport, name: str, does: Callable[[], object]) -> Iterator[None]:
    """Have one of the methods do something else than it should."""
    setattr(transport, name, lambda *_: does())
    try:
        yield
    finally:
        delattr(transport, name)


class BrokenStream(io.StringIO):
    """A stderr that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class TestWhatIsNotOurs:
    """What carries frames or words away may break in any way: the training does not notice."""

    METHODS = ("declare_run", "declare_attempt", "declare_layout", "send_chunk", "declare_checkpoints")

    @pytest.mark.parametrize("name", METHODS)
    @pytest.mark.parametrize(
        "does",
        [lambda: None, lambda: "nonsense", lambda: 1 / 0, lambda: threading.Event().wait(0.2)],
        ids=["answers nothing", "answers nonsense", "raises", "takes long"],
    )
    def test_a_transport(self, name, does):
        setting, transport = Setting(), MemoryTransport()
        outcome = _tried(setting, failing(transport, name, does), transport, lambda number: transport.forget())
        assert outcome.raised is None
        assert outcome.is_like(Training(setting).alone())

    @pytest.mark.parametrize("stream", [None, BrokenStream()], ids=["no stderr", "a broken stderr"])
    def test_a_stderr(self, stream, monkeypatch):
        monkeypatch.setattr("sys.stderr", stream)
        ours = Training(Setting())
        parameters = ours.with_run(gradvitals.init(url=MemoryTransport()), contextlib.nullcontext())
        assert Outcome(parameters).is_like(Training(ours.setting).alone())
