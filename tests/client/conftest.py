"""No test of the client leaves anything in the spool of whoever runs it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def spool_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADVITALS_SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"
