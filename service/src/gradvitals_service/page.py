"""Serve the built web page: its files, and index.html for every path that the page itself understands."""

from pathlib import Path

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, PlainTextResponse, Response

from gradvitals_service.auth.scopes import public
from gradvitals_service.errors import NotFoundError

STATIC = Path(__file__).parent / "static"
NOT_BUILT = (
    "The web page is not built. In the repository, `make install` builds it; the published package holds it already.\n"
    "The API works: see /api/v1/dashboard.\n"
)

router = APIRouter(dependencies=[Depends(public)], include_in_schema=False)


@router.get("/{path:path}")
def show_page(path: str) -> Response:
    """A file of the page, or the page, which reads the path itself."""
    if path == "api" or path.startswith("api/"):
        raise NotFoundError(f"there is nothing at /{path}")
    return page_response(path or "index.html")


def page_response(path: str) -> Response:
    """One file of the build. Only files that are there are served; no path of a request is ever joined to a folder."""
    files = _files()
    if "index.html" not in files:
        return PlainTextResponse(NOT_BUILT, status_code=503)
    if path.startswith("assets/") and path not in files:
        raise NotFoundError(f"the page has no file {path}")
    found = files.get(path, files["index.html"])
    # Vite puts a hash of the content into the names under assets/, so these never change.
    kept = "public, max-age=31536000, immutable" if path in files and path.startswith("assets/") else "no-cache"
    return FileResponse(found, headers={"Cache-Control": kept})


def _files() -> dict[str, Path]:
    """Every file of the build by its path in a URL; some ten of them."""
    return {file.relative_to(STATIC).as_posix(): file for file in STATIC.rglob("*") if file.is_file()}
