"""Print the service's OpenAPI description, from which the page's types are made. Needs no running service."""

import json
import tempfile
from pathlib import Path
from typing import Any

from gradvitals_service.app import create_app
from gradvitals_service.settings import Settings


def describe_api() -> dict[str, Any]:
    """The description as FastAPI makes it, without the version, which changes with every release."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder), state_dir=Path(folder)))
        app.state.engine.dispose()
        app.state.writer_engine.dispose()
    description = app.openapi()
    del description["info"]["version"]
    return description


if __name__ == "__main__":
    print(json.dumps(describe_api(), indent=1, sort_keys=True))
