"""Who may import whom, as CONTRIBUTING.md says it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client" / "src" / "gradvitals"
SERVICE = ROOT / "service" / "src" / "gradvitals_service"


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def sources(package: Path) -> list[Path]:
    return [path for path in package.rglob("*.py") if not {"examples", "migrations", "static"} & set(path.parts)]


def test_the_client_never_imports_the_service() -> None:
    assert [path for path in sources(CLIENT) for name in imported(path) if name.startswith("gradvitals_service")] == []


def test_the_service_never_imports_the_client() -> None:
    found = [(path, name) for path in sources(SERVICE) for name in imported(path)]
    assert [pair for pair in found if pair[1] == "gradvitals" or pair[1].startswith("gradvitals.")] == []


SENDING = [
    *("__init__", "checkpoints", "cli", "declarations", "elsewhere", "errors", "frames", "logged", "observer"),
    *("own_differences", "pending", "run", "sender", "settings", "start", "transport"),
    *("backlog", "leftovers", "segments", "spool", "spooled", "status", "syncing"),
]


@pytest.mark.parametrize("name", SENDING)
def test_what_sends_knows_no_torch(name: str) -> None:
    top_level = ast.parse((CLIENT / f"{name}.py").read_text()).body
    modules = {
        alias.name.split(".")[0]
        for node in top_level
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert "torch" not in modules


def test_norms_and_clipping_know_only_torch() -> None:
    each_other = ("gradvitals.norms", "gradvitals.cpu_norms", "gradvitals.distributed", "gradvitals.errors")
    for name in ("norms", "cpu_norms", "distributed", "clipping"):
        foreign = {
            module
            for module in imported(CLIENT / f"{name}.py")
            if module.startswith("gradvitals.") and not module.startswith(each_other)
        }
        assert foreign == set(), f"{name}.py imports {foreign}"


def test_detectors_import_nothing_of_ours_but_each_other() -> None:
    for path in sources(SERVICE / "health" / "detectors"):
        foreign = {
            module
            for module in imported(path)
            if module.startswith("gradvitals_service") and not module.startswith("gradvitals_service.health.detectors")
        }
        assert foreign == set(), f"{path.name} imports {foreign}"


def test_no_domain_imports_the_routes_of_another() -> None:
    for path in sources(SERVICE):
        domain, *inside = path.relative_to(SERVICE).parts
        if not inside:  # app.py puts the domains together
            continue
        routes = {
            module.split(".")[1]
            for module in imported(path)
            if module.startswith("gradvitals_service.") and module.endswith(".routes")
        }
        assert routes <= {domain}, f"{path} imports routes of {routes - {domain}}"


def test_sql_statements_stand_in_queries() -> None:
    """Routes ask queries; ``select`` and ``text`` of SQLAlchemy belong in none of them."""
    for path in SERVICE.rglob("routes.py"):
        used = {module for module in imported(path) if module.startswith("sqlalchemy.")}
        assert not used & {"sqlalchemy.select", "sqlalchemy.text", "sqlalchemy.update", "sqlalchemy.insert"}, path
