"""Log in and out of the page, and make one-time login links."""

from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Depends, Request, status
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from gradvitals_service.auth.login import LoginCodes
from gradvitals_service.auth.scopes import may_read, public, require_read, same_secret
from gradvitals_service.auth.sessions import LIFETIME_SECONDS, Sessions
from gradvitals_service.auth.tokens import Tokens
from gradvitals_service.bodies import read_json
from gradvitals_service.errors import ForbiddenError, UnauthorizedError
from gradvitals_service.page import page_response
from gradvitals_service.settings import Settings

HOME = "/"

pages = APIRouter(dependencies=[Depends(public)], include_in_schema=False)
router = APIRouter(prefix="/api/v1", tags=["auth"], dependencies=[Depends(require_read)])


class LoginIn(msgspec.Struct, forbid_unknown_fields=True):
    """A pasted token."""

    token: str


class LoginLink(BaseModel):
    """A link that opens the page once."""

    url: str


@router.post("/login-codes", response_model=LoginLink, status_code=status.HTTP_201_CREATED)
def make_login_link(request: Request) -> LoginLink:
    """Make a one-time link. For the read token in the header: a cookie alone may not hand out the page."""
    if "authorization" not in request.headers:
        raise ForbiddenError("this needs the read token as the header Authorization: Bearer <token>")
    return LoginLink(url=login_url(request.app.state.base_url, request.app.state.login_codes))


@pages.get("/login")
def log_in_by_link(request: Request, code: str | None = None) -> Response:
    """Trade a one-time code for the cookie; without a code, show the page that asks for a token."""
    if code is None:
        return page_response("index.html")
    if request.app.state.login_codes.use(code):
        return _with_cookie(request, RedirectResponse(HOME, status_code=status.HTTP_303_SEE_OTHER))
    if may_read(request):  # the link was used in this very browser
        return RedirectResponse(HOME, status_code=status.HTTP_303_SEE_OTHER)
    refusal = page_response("index.html")  # the page says that the link is spent, and how to get another
    refusal.status_code = status.HTTP_401_UNAUTHORIZED
    return refusal


@pages.post("/login", status_code=status.HTTP_204_NO_CONTENT)
async def log_in_by_token(request: Request) -> Response:
    """Trade the read token for the cookie."""
    require_own_origin(request)
    tokens: Tokens = request.app.state.tokens
    given = await read_json(request, LoginIn)
    if not same_secret(given.token, tokens.read):
        raise UnauthorizedError("token: this is not the read token of this service")
    return _with_cookie(request, Response(status_code=status.HTTP_204_NO_CONTENT))


@pages.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
def log_out(request: Request) -> Response:
    """Take the cookie back."""
    require_own_origin(request)
    answer = Response(status_code=status.HTTP_204_NO_CONTENT)
    sessions: Sessions = request.app.state.sessions
    answer.delete_cookie(sessions.cookie_name, path=HOME)
    return answer


def login_url(base_url: str, codes: LoginCodes) -> str:
    """A fresh one-time link."""
    return f"{base_url.rstrip('/')}/login?code={codes.make()}"


def require_own_origin(request: Request) -> None:
    """Refuse what another site's page sends; browsers always say where from, other programs need not."""
    origin = request.headers.get("origin")
    if origin is None:
        return
    settings: Settings = request.app.state.settings
    own = {request.headers.get("host", "").lower(), urlsplit(settings.public_url or "").netloc.lower()}
    if urlsplit(origin).netloc.lower() not in own - {""}:
        raise ForbiddenError("the Origin header names another site")


def _with_cookie(request: Request, answer: Response) -> Response:
    sessions: Sessions = request.app.state.sessions
    answer.set_cookie(
        sessions.cookie_name,
        sessions.make(),
        max_age=LIFETIME_SECONDS,
        path=HOME,
        secure=request.app.state.base_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )
    return answer
