"""Run the detectors over a folder of recorded traces, as they would have run live.

A trace is ``NAME.npz`` (arrays over its steps) and ``NAME.json`` (names and settings of its layers). Only what a client
measures is handed on: no label, narrative or name reaches a detector. As on the wire, weight norms come with every 64th
frame, and frames come in chunks.
"""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from gradvitals_service.health.detectors import NORMAL, Detectors, EventUpdate, Frames, Options
from gradvitals_service.series import flags

PARAM_NORMS_EVERY = 64
CHUNK_FRAMES = 256
_ARRAYS = ("step", "global_norm", "loss", "lr", "clip_coefficient", "layer_norms", "param_norms", "requires_grad")


class TraceError(Exception):
    """A trace cannot be read; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One recorded run. Its layers are modules already, so each is a group."""

    name: str
    layer_names: tuple[str, ...]
    frames: Frames
    trainable: NDArray[np.bool_]  # [n, L]: layers may be frozen on the way


def replay(traces: Path, out: Path, options: Options = NORMAL, plot: Path | None = None) -> None:
    """Judge every trace in ``traces`` and write ``{run: [{kind, start_step, end_step, layers}]}`` to ``out``.

    ``options`` are what a project would have chosen. With ``plot``, a folder, each run is drawn as a PNG in it, with
    its labels. Raises TraceError for a folder without traces, a trace that cannot be read, and an ``out`` or ``plot``
    that cannot be written.
    """
    files = find_traces(traces)
    draw = None if plot is None else _plotter(plot)
    detections: dict[str, list[dict[str, Any]]] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for file in progress.track(files, description="replaying"):
            trace = read_trace(file)
            events = judge(trace, options)
            detections[trace.name] = [_as_json(event, trace.layer_names) for event in events]
            if draw is not None:
                draw(file, trace, events)
    try:
        out.write_text(json.dumps(detections, indent=1) + "\n")
    except OSError as error:
        raise TraceError(f"{out} cannot be written: {error.strerror}") from error


def _plotter(folder: Path) -> Callable[[Path, "Trace", list[EventUpdate]], None]:
    """What draws a trace into a folder, which is made where it is missing."""
    from gradvitals_service.health.replay_plots import plot_trace  # matplotlib is needed by nothing else

    def draw(file: Path, trace: Trace, events: list[EventUpdate]) -> None:
        try:
            (folder / f"{trace.name}.png").write_bytes(plot_trace(trace, events, file))
        except OSError as error:
            raise TraceError(f"{folder} cannot be written: {error.strerror}") from error

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TraceError(f"{folder} cannot be written: {error.strerror}") from error
    return draw


def find_traces(folder: Path) -> list[Path]:
    """The .npz files of the folder that have their .json beside them, by name."""
    if not folder.is_dir():
        raise TraceError(f"{folder} is not a folder; it should hold traces as NAME.npz with NAME.json")
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise TraceError(f"{folder} holds no traces: there is no .npz file in it")
    for file in files:
        if not file.with_suffix(".json").is_file():
            raise TraceError(f"{file.name} has no {file.stem}.json beside it, which names its layers")
    return files


def judge(trace: Trace, options: Options = NORMAL) -> list[EventUpdate]:
    """The last word on every event of a trace, in the order in which they opened."""
    events: dict[tuple[str, int], EventUpdate] = {}
    ignored = [options.ignores(name) for name in trace.layer_names]
    detectors = Detectors(len(ignored), trace.trainable[0] if len(trace.frames) else None, options, ignored)
    for start, stop in _chunks(trace):
        detectors.set_trainable(trace.trainable[start])
        for update in detectors.observe(trace.frames.rows(start, stop)):
            events[update.kind, update.start_frame] = update
    return list(events.values())


def read_trace(file: Path) -> Trace:
    """Read NAME.npz and NAME.json."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS if name in archive}
        side = json.loads(file.with_suffix(".json").read_text())
    except (OSError, ValueError, BadZipFile) as error:
        raise TraceError(f"{file.stem} cannot be read as a trace: {error}") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    missing += [name for name in ("layer_names", "max_norm") if name not in side]
    if missing:
        raise TraceError(f"{file.stem}: {', '.join(missing)} missing")
    layer_names = tuple(map(str, side["layer_names"]))
    _check_shapes(file.stem, arrays, len(layer_names))
    return Trace(file.stem, layer_names, _frames(arrays, side["max_norm"]), arrays["requires_grad"] != 0)


def _check_shapes(name: str, arrays: dict[str, NDArray[Any]], layers: int) -> None:
    n = arrays["step"].shape[0] if arrays["step"].ndim == 1 else -1
    for key, array in arrays.items():
        expected = (n, layers) if key in ("layer_norms", "param_norms", "requires_grad") else (n,)
        if array.shape != expected:
            raise TraceError(f"{name}: {key} has the shape {array.shape} where {expected} was expected")


def _frames(arrays: dict[str, NDArray[Any]], max_norm: float | None) -> Frames:
    n = len(arrays["step"])
    limit = math.inf if max_norm is None else float(max_norm)
    rows = np.arange(0, n, PARAM_NORMS_EVERY)
    return Frames(
        first=0,
        step=arrays["step"].astype(np.int64),
        global_norm=arrays["global_norm"].astype(np.float32),
        clip_coefficient=arrays["clip_coefficient"].astype(np.float32),
        max_norm=np.full(n, limit, np.float32),
        lr=arrays["lr"].astype(np.float32),
        loss=arrays["loss"].astype(np.float32),
        has_loss=np.ones(n, np.bool_),
        flags=np.where(_skipped(arrays), flags.SKIPPED_STEP, 0).astype(np.uint32),
        group_norms=arrays["layer_norms"].astype(np.float32),
        param_norms=arrays["param_norms"][rows].astype(np.float32),
        param_rows=rows,
    )


def _skipped(arrays: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """The flag that a live client sets, which traces lack: a non-finite step after which no weight has moved."""
    weights = arrays["param_norms"]
    stayed = np.zeros(len(weights), np.bool_)
    stayed[:-1] = np.all(weights[1:] == weights[:-1], axis=1)
    skipped: NDArray[np.bool_] = stayed & ~np.isfinite(arrays["global_norm"])
    return skipped


def _chunks(trace: Trace) -> list[tuple[int, int]]:
    """Chunks as a client would send them: bounded, and a new one where the layout changes by freezing a layer."""
    n = len(trace.frames)
    changed = np.any(trace.trainable[1:] != trace.trainable[:-1], axis=1)
    cuts = sorted({0, n, *range(0, n, CHUNK_FRAMES), *(np.flatnonzero(changed) + 1).tolist()})
    return list(itertools.pairwise(cuts))


def _as_json(event: EventUpdate, layer_names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "start_step": event.start_step,
        "end_step": event.end_step,
        "layers": [layer_names[group] for group in event.groups],
    }
