"""The two wheels work where nothing but their declared dependencies is installed."""

import os
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from service_process import ServiceProcess, free_port

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)  # what the wheels declare is downloaded and installed within the first test


def run(*command: object, **options: object) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return str(result.stdout)


def build(name: str, out: Path) -> Path:
    """Through the source distribution, as PyPI would: what the sdist lacks is missing here too."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT / name)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def service_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("service", tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("client", tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory, service_wheel: Path, client_wheel: Path) -> Path:
    """A virtual environment with the wheels and what they declare; pins as everywhere."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-compile"]
    install = [*pip, "--constraint", ROOT / "constraints.txt"]
    result = subprocess.run([*map(str, install), str(service_wheel), str(client_wheel)], capture_output=True, text=True)
    if result.returncode and "network" not in os.environ.get("GRADVITALS_REQUIRE", ""):
        pytest.skip(f"the wheels' dependencies could not be installed (no network?): {result.stderr[-300:]}")
    assert result.returncode == 0, result.stderr
    return folder


def test_the_service_wheel_holds_the_page_the_migrations_and_the_example(service_wheel: Path) -> None:
    names = zipfile.ZipFile(service_wheel).namelist()
    assert "gradvitals_service/static/index.html" in names
    assert "gradvitals_service/migrations/env.py" in names
    assert any(name.startswith("gradvitals_service/migrations/versions/") for name in names)
    assert "gradvitals_service/examples/gru.py" in names
    assert not any("node_modules" in name or "__pycache__" in name for name in names)


def test_the_installed_service_migrates_and_serves_the_page(fresh_environment: Path, tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    command = [fresh_environment / "bin" / "gradvitals-service"]
    run(*command, "migrate", env=service.environment, cwd=tmp_path)
    assert service.database.exists()
    service.python = fresh_environment / "bin" / "python"
    service.port = free_port()
    service.url = f"http://127.0.0.1:{service.port}"
    service.start()
    try:
        with urllib.request.urlopen(service.url + "/", timeout=10) as page:
            assert b"<title>gradvitals" in page.read()
        assert service.get("/api/v1/dashboard")["runs"] == []
    finally:
        assert service.stop() == 0


def test_the_installed_client_needs_no_torch_to_be_asked_for_help(fresh_environment: Path, tmp_path: Path) -> None:
    assert "check" in run(fresh_environment / "bin" / "gradvitals", "--help", cwd=tmp_path)
    missing = subprocess.run(
        [str(fresh_environment / "bin" / "python"), "-c", "import torch"], capture_output=True, text=True, cwd=tmp_path
    )
    assert "No module named 'torch'" in missing.stderr  # else this test shows nothing
