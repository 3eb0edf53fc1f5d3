"""On a CUDA device: nothing waits, the numbers are the CPU's, and a captured graph clips.

These tests are the only ones that need a GPU. They are skipped without one, and that includes CI.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

import gradvitals
from gradvitals import MemoryTransport
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP
from gradvitals.ring import Ring, capturing, ring_device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")

LAYERS = 20
WIDTH = 32


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "GRADVITALS_RUN_ID", "RANK", "WORLD_SIZE", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Torch raises where the host would wait for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def model_on(device: torch.device | str) -> nn.Module:
    """The same weights on every device."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * WIDTH**-0.5)
    return model.to(device)


def set_gradients(model: nn.Module, step: int) -> None:
    """The same gradients on every device: random ones, larger and smaller by turns, so that some steps are clipped."""
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator) * (10.0 if step % 2 else 1e-3)
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.copy_(values)


def weights_of(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().cpu().clone() for parameter in model.parameters()]


class TestNoWaiting:
    @pytest.mark.parametrize(
        "make_optimizer",
        [
            lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
            lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
            lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(1e-3, device="cuda"), capturable=True),
        ],
        ids=["foreach", "fused", "a learning rate on the device"],
    )
    def test_a_hundred_watched_steps_never_wait_for_the_device(self, device, make_optimizer):
        transport = MemoryTransport()
        model = model_on(device)
        optimizer = make_optimizer(model.parameters())
        inputs = torch.randn(8, WIDTH, device=device)

        def step() -> None:
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()

        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0)
            step()  # what is made once, is made here
            with waiting_is_an_error():
                for _ in range(100):
                    step()
        assert [frame.step for frame in transport.frames()] == list(range(101))

    def test_a_skip_by_found_inf_does_not_wait_either(self, device):
        transport = MemoryTransport()
        model = model_on(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0, on_non_finite="skip")
            set_gradients(model, step=0)
            optimizer.step()
            before = weights_of(model)
            next(model.parameters()).grad.fill_(float("inf"))
            with waiting_is_an_error():
                optimizer.step()
            assert all(torch.equal(now, then) for now, then in zip(weights_of(model), before, strict=True))
            set_gradients(model, step=1)
            optimizer.step()
            assert not torch.equal(weights_of(model)[0], before[0])
        flags = [frame.flags for frame in transport.frames()]
        assert flags == [0, FLAG_NON_FINITE | FLAG_SKIPPED_STEP, 0]


class TestFrames:
    @pytest.mark.parametrize("fused", [False, True])
    def test_frames_and_weights_are_those_of_the_cpu(self, device, fused):
        frames, weights = {}, {}
        for place in ("cpu", device):
            transport = MemoryTransport()
            model = model_on(place)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
            with gradvitals.init(url=transport) as run:
                run.watch(model, optimizer, max_norm=1.0)
                for step in range(70):  # long enough for the norms of the weights to come twice
                    set_gradients(model, step)
                    optimizer.step()
            frames[place], weights[place] = transport.frames(), weights_of(model)
        assert len(frames["cpu"]) == len(frames[device]) == 70
        for ours, reference in zip(frames[device], frames["cpu"], strict=True):
            assert ours.step == reference.step
            assert ours.global_norm == pytest.approx(reference.global_norm, rel=1e-5)
            assert ours.clip_coefficient == pytest.approx(reference.clip_coefficient, rel=1e-5)
            assert ours.layer_norms == pytest.approx(reference.layer_norms, rel=1e-5)
            assert (ours.param_norms is None) == (reference.param_norms is None)
        torch.testing.assert_close(weights[device], weights["cpu"], rtol=1e-4, atol=1e-6)

    def test_a_frame_goes_off_without_the_next_step(self, device):
        transport = MemoryTransport()
        model = model_on(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer)
            set_gradients(model, step=0)
            optimizer.step()
        assert len(transport.frames()) == 1


class TestAmp:
    def test_a_fused_step_under_a_grad_scaler_is_torchs_own_and_does_not_wait(self, device):
        transport = MemoryTransport()
        ours, torchs = model_on(device), model_on(device)
        inputs = torch.randn(8, WIDTH, device=device)
        steps, norms = [], []
        for model in (ours, torchs):
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
            scaler = torch.amp.GradScaler(device.type, init_scale=1024.0)

            def step(model=model, optimizer=optimizer, scaler=scaler) -> None:
                optimizer.zero_grad()
                scaler.scale(model(inputs).square().mean()).backward()
                if model is torchs:
                    scaler.unscale_(optimizer)
                    norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
                scaler.step(optimizer)
                scaler.update()

            steps.append((step, optimizer, scaler))
        (our_step, optimizer, scaler), (torchs_step, _, _) = steps
        with gradvitals.init(url=transport) as run:
            run.watch(ours, optimizer, max_norm=1.0, scaler=scaler)
            our_step()
            with waiting_is_an_error():
                for _ in range(20):
                    our_step()
        for _ in range(21):
            torchs_step()
        torch.testing.assert_close(weights_of(ours), weights_of(torchs), rtol=1e-4, atol=1e-6)
        assert [frame.global_norm for frame in transport.frames()] == pytest.approx(
            [norm.item() for norm in norms], rel=1e-4
        )
        assert all(norm.isfinite() for norm in norms)
        assert {frame.loss_scale for frame in transport.frames()} == {1024.0}


class TestCapture:
    def test_a_captured_step_clips_at_each_replay_and_says_that_it_makes_no_frames(self, device, capsys):
        transport = MemoryTransport()
        model = nn.Linear(2, 1, bias=False, device=device)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        model.weight.grad = torch.zeros_like(model.weight)
        with gradvitals.init(url=transport) as run:
            run.watch(model, optimizer, max_norm=1.0)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                optimizer.step()  # a capture is preceded by a step on a stream of its own
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                assert capturing()
                optimizer.step()
            assert not capturing()
            with torch.no_grad():
                model.weight.zero_()
            model.weight.grad.copy_(torch.tensor([[3.0, 4.0]]))
            graph.replay()
            assert model.weight.tolist() == [pytest.approx([-0.6, -0.8], rel=1e-5)]
            model.weight.grad.copy_(torch.tensor([[0.3, 0.4]]))
            graph.replay()
            assert model.weight.tolist() == [pytest.approx([-0.9, -1.2], rel=1e-5)]
        assert capsys.readouterr().err.count("CUDA graph") == 1
        assert len(transport.frames()) == 1


class TestRing:
    def test_takes_less_than_a_mebibyte_for_a_thousand_layers(self, device):
        ring: Ring[int] = Ring(ring_device(device))
        values = [torch.zeros(1000, device=device), torch.zeros(8, device=device)]
        before = torch.cuda.memory_allocated(device)
        ring.write(values, 0)
        assert torch.cuda.memory_allocated(device) - before < ring.memory_bytes < 1 << 20

    def test_a_row_is_one_kernel(self, device):
        ring: Ring[int] = Ring(ring_device(device))
        values = [torch.zeros(1000, device=device), *torch.zeros(5, device=device).unbind()]
        ring.write(values, 0)  # copied at once, being the first
        ring.write(values, 1)  # opens a segment
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            ring.write(values, 2)
            torch.cuda.synchronize()
        on_device = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
        assert len(on_device) <= 2  # a copy may have been due

    def test_rows_are_never_torn_while_the_device_is_busy(self, device):
        ring: Ring[int] = Ring(ring_device(device))
        rows, seen = 20_000, []
        ones = torch.ones(1000, device=device)
        work = torch.randn(256, 256, device=device)
        with waiting_is_an_error():
            for step in range(rows):
                if step % 7 == 0:
                    work = torch.tanh(work @ work)  # so that the host runs ahead of the device, by turns
                ring.write([ones * step], step)
                seen += ring.ready()
        seen += ring.drain(10.0)
        steps = [step for step, _ in seen]
        assert steps == sorted(set(steps))
        assert len(steps) + ring.lost == rows
        assert all((row == step).all() for step, row in seen)

    def test_another_stream_goes_on_where_the_first_has_stopped(self, device):
        ring: Ring[int] = Ring(ring_device(device))
        other = torch.cuda.Stream()
        for step in range(1000):
            value = torch.full((100,), float(step), device=device)
            other.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(other if step % 2 else torch.cuda.current_stream()):
                ring.write([value], step)
                value.record_stream(torch.cuda.current_stream())
        rows = ring.drain(10.0)
        assert len(rows) + ring.lost == 1000
        assert all((row == step).all() for step, row in rows)
