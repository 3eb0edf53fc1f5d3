"""The examples for the frameworks train, clip, and send what they measure."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers")  # Lightning's own
@pytest.mark.parametrize("name", ["lightning_gru", "transformers_copy", "accelerate_loop"])
def test_the_example_trains_and_clips(transport, name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(steps=20, url=transport)
    frames = transport.frames()
    assert len(frames) == 20
    assert frames[-1].loss < frames[0].loss
    assert any(frame.clip_coefficient < 1.0 for frame in frames)
    assert transport.outcomes == [("finished", None)]
