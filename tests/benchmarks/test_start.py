"""Every benchmark can be started: what it imports is there, and it says what it measures."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUESTIONS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text())


def test_there_are_some() -> None:
    assert {"ingest", "storage", "chart", "latency"} <= set(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_explains_itself(question: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = importlib.import_module(f"benchmarks.{question}")
    monkeypatch.setattr(sys, "argv", [question, "--help"])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 0
    assert benchmark.__doc__.splitlines()[0][:40] in capsys.readouterr().out
