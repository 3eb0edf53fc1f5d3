"""The snippets of the documents run as they stand, clip, and have nothing to complain of."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradvitals
from gradvitals.monitor import monitor_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "clipping.md").read_text()
COMPLAINTS = re.compile("could not|fault|failed|ignored|too late")


class Net(nn.Module):
    """A network whose layers have the names that the snippets use."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.head = nn.Linear(4, 1)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(words)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return self.head(hidden)


def what_a_snippet_finds(run: gradvitals.Run) -> dict[str, Any]:
    """The names that the documents call the reader's own."""
    model = Net()
    return {
        "gradvitals": gradvitals,
        "torch": torch,
        "run": run,
        "device": torch.device("cpu"),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loader": [(torch.arange(5), torch.full((5, 1), 10.0)) for _ in range(6)],
        "loss_fn": nn.functional.mse_loss,
    }


def take_a_step(names: dict[str, Any]) -> None:
    names["optimizer"].zero_grad()
    names["loss_fn"](names["model"](torch.arange(5)), torch.full((5, 1), 10.0)).backward()
    names["optimizer"].step()


def snippets(text: str) -> list[str]:
    """The Python of a document. Where it is nothing but calls of ``run.watch``, these are alternatives: one each."""
    found = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        statements = [ast.get_source_segment(block, statement) or "" for statement in ast.parse(block).body]
        if len(statements) > 1 and all(statement.startswith("run.watch(") for statement in statements):
            found += statements
        else:
            found.append(block)
    return found


@pytest.fixture
def run(monkeypatch, tmp_path) -> Iterator[gradvitals.Run]:
    for name in ("GRADVITALS_MODE", "GRADVITALS_URL", "GRADVITALS_RUN_ID", "GRADVITALS_QUIET", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))
    with gradvitals.init(url=gradvitals.MemoryTransport()) as run:
        yield run


@pytest.mark.parametrize("snippet", snippets(GUIDE), ids=lambda snippet: snippet.splitlines()[0])
def test_a_snippet_of_the_guide_to_clipping_runs(run, capsys, snippet):
    names = what_a_snippet_finds(run)
    exec(compile(snippet, "docs/clipping.md", "exec"), names)
    steps = run.step
    take_a_step(names)
    if "watch(" in snippet and "hook=False" not in snippet:
        assert run.step == steps + 1
    assert [line for line in capsys.readouterr().err.splitlines() if COMPLAINTS.search(line)] == []


def test_the_guide_names_every_argument_of_watch():
    arguments = set(inspect.signature(gradvitals.Run.watch).parameters) - {"self", "model", "optimizer"}
    assert [name for name in sorted(arguments) if f"{name}=" not in GUIDE] == []


def test_the_lines_that_the_readme_adds_to_a_loop_watch_it(run, monkeypatch):
    (block,) = re.findall(r"^```diff\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    loop = "".join(line[1:] for line in block.splitlines(keepends=True) if not line.startswith("-"))
    names = what_a_snippet_finds(run)
    names["loader"] = [Batch(*batch) for batch in names["loader"]]
    monkeypatch.setattr(gradvitals, "init", lambda **_: run)
    exec(compile(loop, "README.md", "exec"), names)
    assert run.step == len(names["loader"])
    assert monitor_of(names["optimizer"]).last["global_norm"] > 1.0
    assert nn.utils.get_total_norm([p.grad for p in names["model"].parameters()]).item() == pytest.approx(1.0)


class Batch:
    """What the loop of the README takes apart."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y


def test_what_is_found_to_run_is_what_is_written():
    blocks = "```python\nrun.watch(1)\nrun.watch(2)\n```\n\n```python\nrun.watch(3)\nx = 1\n```\n"
    assert snippets(blocks) == ["run.watch(1)", "run.watch(2)", "run.watch(3)\nx = 1\n"]
