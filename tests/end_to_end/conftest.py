"""A real service in a folder of its own for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from service_process import ServiceProcess


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A running service on SQLite; ended after the test whatever happened."""
    process = ServiceProcess(tmp_path, forked=True).start()
    yield process
    if process.process is not None and process.process.poll() is None:
        process.stop()
