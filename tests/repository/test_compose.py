"""docker-compose.yml starts what the documents say, and holds no secret. No Docker engine is needed to know that."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_service_waits_for_a_migration_that_waits_for_a_healthy_database() -> None:
    services = COMPOSE["services"]
    assert services["service"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert services["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert services["migrate"]["command"] == ["migrate"]
    assert "healthcheck" in services["database"]
    assert "healthcheck" in services["service"]


def test_every_secret_must_come_from_the_environment() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or "TOKEN" in name or "DATABASE_URL" in name:
                assert ":?" in value, f"{name} has a default"


def test_every_setting_in_the_file_is_one_that_the_service_reads() -> None:
    from gradvitals_service.settings import Settings

    known = {f"GRADVITALS_SERVICE_{field.upper()}" for field in Settings.model_fields}
    used = {name for name in COMPOSE["services"]["service"]["environment"] if name.startswith("GRADVITALS_")}
    assert used <= known
    assert used, "the file sets nothing: this test shows nothing"


def test_the_image_copies_only_what_is_in_the_repository() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [
        source for line in lines if line.startswith("COPY") and "--from" not in line for source in line.split()[1:-1]
    ]
    assert copied, "the image copies nothing: this test shows nothing"
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_image_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER gradvitals" in lines
    assert lines.index("USER gradvitals") < next(i for i, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
