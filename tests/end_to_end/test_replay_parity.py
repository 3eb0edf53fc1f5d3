"""A run that was watched live and the replay of its trace tell the same events.

The trace goes frame by frame through the client, as a monitor's frames do, over HTTP into a real service; its chunks
are cut by the client's clock. The weights' norms come with every 64th frame.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from service_process import ServiceProcess

import gradvitals
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP, PARAM_NORMS_EVERY, Frame, Layer, Layout

LAYERS = ("embedding", "encoder", "decoder", "head")
EMBEDDING, ENCODER, DECODER = 0, 1, 2
N = 900
OVERFLOW, EXPLOSION, FREEZES, NAN, VANISHES = 150, 310, 450, 520, 600

Trace = dict[str, NDArray[Any]]


def trace() -> Trace:
    """An overflow that is skipped, an explosion that harms the loss, a NaN, and a layer that dies; another freezes."""
    noise = np.random.default_rng(5)
    norms = np.exp(noise.normal(0.0, 0.2, (N, len(LAYERS))))
    loss = 2.0 * np.exp(noise.normal(0.0, 0.02, N))
    norms[OVERFLOW] = np.inf
    norms[EXPLOSION : EXPLOSION + 6] *= np.geomspace(20.0, 1e5, 6)[:, np.newaxis]
    loss[EXPLOSION + 1 :] *= 3.0
    norms[FREEZES:, EMBEDDING] = 0.0
    norms[NAN, ENCODER] = np.nan
    norms[VANISHES:, DECODER] *= 1e-6
    weights = 10.0 + 1e-3 * np.arange(N)
    weights[OVERFLOW + 1 :] -= 1e-3  # no step was made
    trained = np.ones((N, len(LAYERS)), np.uint8)
    trained[FREEZES:, EMBEDDING] = 0
    return {
        "step": np.arange(N),
        "global_norm": np.sqrt(np.square(norms).sum(axis=1)).astype(np.float32),
        "loss": loss.astype(np.float32),
        "lr": np.full(N, 0.1, np.float32),
        "clip_coefficient": np.ones(N, np.float32),
        "layer_norms": norms.astype(np.float32),
        "param_norms": (weights[:, np.newaxis] * np.ones(len(LAYERS))).astype(np.float32),
        "requires_grad": trained,
    }


def replayed(folder: Path, trace: Trace) -> list[dict[str, Any]]:
    """What ``gradvitals-service replay`` says of the trace."""
    np.savez(folder / "run.npz", **trace)
    (folder / "run.json").write_text(json.dumps({"layer_names": LAYERS, "max_norm": None}))
    out = folder / "detections.json"
    command = [sys.executable, "-m", "gradvitals_service.cli", "replay", str(folder), "--out", str(out)]
    subprocess.run(command, check=True)
    return list(json.loads(out.read_text())["run"])


def as_measured(trace: Trace) -> Iterator[Frame]:
    """The frames that a monitor would have made."""
    layouts: dict[bytes, Layout] = {}
    for row in range(len(trace["step"])):
        trained = trace["requires_grad"][row]
        layers = (Layer(name, name, (8,), 8, "float32", 0, bool(t)) for name, t in zip(LAYERS, trained, strict=True))
        finite = np.isfinite(trace["global_norm"][row])
        yield Frame(
            step=int(trace["step"][row]),
            time=1_790_000_000.0 + 0.1 * row,
            global_norm=float(trace["global_norm"][row]),
            clip_coefficient=float(trace["clip_coefficient"][row]) if finite else np.nan,
            max_norm=np.inf,
            lr=float(trace["lr"][row]),
            layout=layouts.setdefault(trained.tobytes(), Layout(tuple(layers))),
            layer_norms=trace["layer_norms"][row],
            param_norms=None if row % PARAM_NORMS_EVERY else trace["param_norms"][row],
            flags=0 if finite else FLAG_NON_FINITE | FLAG_SKIPPED_STEP * (row == OVERFLOW),
        )


@pytest.fixture
def address(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where this process's own client finds the service."""
    for name, value in {"GRADVITALS_TOKEN": service.tokens["ingest_token"], "GRADVITALS_QUIET": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", service.environment["XDG_STATE_HOME"])
    return service.url


@pytest.mark.parametrize("kills", [(), (EXPLOSION + 4,)])
def test_the_live_path_and_the_replay_tell_the_same_events(
    service: ServiceProcess, address: str, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    """Also where the service is killed between two chunks, within the explosion."""
    run = gradvitals.init(project="parity", url=address)
    monitor = run.observer()  # whose name and settings the frames below go by
    recorded = trace()
    for frame, loss in zip(as_measured(recorded), recorded["loss"].tolist(), strict=True):
        if frame.step in kills:
            wait_until_stored(service, run, frame.step)
            service.kill()
            service.start()
        run.log(loss=loss)
        run.submit(monitor, frame)
    run.finish()
    expected = replayed(tmp_path, recorded)
    assert [event["kind"] for event in expected] == ["non_finite", "explosion", "non_finite", "vanishing"]
    assert expected[3]["end_step"] is None
    told = service.get(f"/api/v1/runs/{run.run_id}/events")["events"]
    told.sort(key=lambda event: event["start_step"])
    compared = ("kind", "start_step", "end_step", "layers")
    assert [{name: event[name] for name in compared} for event in told] == expected


def wait_until_stored(service: ServiceProcess, run: gradvitals.Run, frames: int) -> None:
    while service.get("/api/v1/dashboard")["runs"] == [] or (
        service.get(f"/api/v1/runs/{run.run_id}")["frames"] < frames - 1  # the newest waits for what is logged late
    ):
        pass  # a round trip, for as long as the test's own timeout lasts
