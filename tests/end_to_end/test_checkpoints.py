"""A loop tells where its checkpoints lie, a gradient breaks, and the service knows which one to resume from."""

import math
from pathlib import Path

import pytest
import torch
from service_process import ServiceProcess

import gradvitals


def test_the_service_names_the_last_checkpoint_from_before_the_nan(
    service: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADVITALS_TOKEN", service.tokens["ingest_token"])
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = gradvitals.init(project="end-to-end", name="checkpoints", url=service.url)
    run.watch(model, optimizer, max_norm=1.0)
    for step in range(6):
        model.weight.grad = torch.tensor([[math.nan if step == 4 else 1.0]])
        optimizer.step()
        path = tmp_path / f"{step + 1}.pt"
        torch.save(model.state_dict(), path)
        run.saved(run.step, path)
    run.finish()
    clean, spoiled = str(tmp_path / "4.pt"), tmp_path / "5.pt"
    assert math.isnan(torch.load(spoiled)["weight"].item())
    shown = service.get(f"/api/v1/runs/{run.run_id}")
    assert shown["resume_from"] == {"newest_clean": {"path": clean, "step": 4}, "not_clean": 2}
    assert not run.may_delete(clean)
