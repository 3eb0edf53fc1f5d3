"""Put the service together: what every request passes, every domain's routes, and what lives as long as the process."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

from gradvitals_service import page, probes
from gradvitals_service._version import __version__
from gradvitals_service.alerts import routes as alert_routes
from gradvitals_service.alerts.apprise_channel import AppriseChannel
from gradvitals_service.alerts.channels import Channels
from gradvitals_service.alerts.dispatcher import Dispatcher
from gradvitals_service.auth import routes as auth_routes
from gradvitals_service.auth.guards import BodyLimit, HostGuard, SecurityHeaders, allowed_hosts
from gradvitals_service.auth.login import LoginCodes
from gradvitals_service.auth.sessions import Sessions
from gradvitals_service.auth.tokens import load_tokens
from gradvitals_service.checkpoints import routes as checkpoint_routes
from gradvitals_service.dashboard import routes as dashboard_routes
from gradvitals_service.dashboard.hub import Hub
from gradvitals_service.dashboard.silence import SilenceWatch
from gradvitals_service.dashboard.summaries import Summaries
from gradvitals_service.database import make_engine, make_session_factory
from gradvitals_service.errors import ErrorRead, add_error_handlers
from gradvitals_service.health import advice_routes, inbox_routes
from gradvitals_service.health import routes as health_routes
from gradvitals_service.ingest import routes as ingest_routes
from gradvitals_service.ingest.writer import Writer
from gradvitals_service.projects import routes as project_routes
from gradvitals_service.runs import routes as run_routes
from gradvitals_service.runs.deletion import Remover
from gradvitals_service.series import routes as series_routes
from gradvitals_service.series.compactor import Compactor
from gradvitals_service.series.retention import Retention
from gradvitals_service.settings import Settings
from gradvitals_service.shrinking import Shrinker


def create_app(settings: Settings) -> FastAPI:
    """One service; it reaches for the database only once it is started."""
    app = FastAPI(
        title="gradvitals",
        version=__version__,
        lifespan=_live,
        responses={"default": {"model": ErrorRead, "description": "a refusal, in one shape for all"}},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.settings = settings
    app.state.base_url = base_url(settings)
    app.state.engine = make_engine(settings.database_url)
    app.state.session_factory = make_session_factory(app.state.engine)
    app.state.writer_engine = make_engine(settings.database_url)
    app.state.tokens = load_tokens(settings)
    app.state.login_codes = LoginCodes()
    app.state.sessions = Sessions(app.state.tokens.read)
    app.state.replaying = threading.Lock()
    app.state.drawing = threading.Lock()
    app.state.hub = Hub()
    app.state.channels = Channels([AppriseChannel(url) for url in settings.alert], app.state.base_url)
    app.state.writer = Writer(make_session_factory(app.state.writer_engine), app.state.channels, app.state.hub)
    compactor = Compactor(app.state.session_factory, app.state.writer)
    retention = Retention(app.state.session_factory, app.state.writer, compactor)
    remover = Remover(app.state.session_factory, app.state.writer)
    app.state.chores = (compactor, retention, remover, Shrinker(app.state.session_factory, app.state.writer))
    app.state.dispatcher = Dispatcher(app.state.session_factory, app.state.channels)
    add_error_handlers(app)
    _add_guards(app, settings)
    _add_routes(app)
    return app


def base_url(settings: Settings) -> str:
    """How people reach this service, without a slash at the end."""
    if settings.public_url:
        return settings.public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # heard everywhere
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}"


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    """Start what works in the background; at the end, write what was accepted before the database is let go."""
    app.state.started_at = datetime.now(UTC)
    summaries = Summaries(app.state.session_factory, app.state.hub, app.state.started_at)
    app.state.writer.start()
    for chore in app.state.chores:
        chore.start()
    app.state.dispatcher.start()
    silence = SilenceWatch(app.state.session_factory, app.state.hub, app.state.started_at)
    telling = [asyncio.create_task(watcher.run()) for watcher in (silence, summaries)]
    try:
        yield
    finally:
        for task in telling:
            task.cancel()
        app.state.hub.close()
        for chore in app.state.chores:
            chore.close()
        app.state.writer.stop()
        app.state.dispatcher.close()
        app.state.engine.dispose()
        app.state.writer_engine.dispose()


def _add_guards(app: FastAPI, settings: Settings) -> None:
    """The last one added comes first: headers on everything, then the host, then the body."""
    app.add_middleware(BodyLimit)
    app.add_middleware(HostGuard, allowed=allowed_hosts(settings))
    app.add_middleware(SecurityHeaders)


def _add_routes(app: FastAPI) -> None:
    """What comes most often is looked for first; the page, which answers for every path that nobody else does, last."""
    app.include_router(ingest_routes.router)
    app.include_router(probes.router)
    app.include_router(auth_routes.router)
    app.include_router(auth_routes.pages)
    app.include_router(run_routes.declaring)
    app.include_router(run_routes.reading)
    app.include_router(checkpoint_routes.declaring)
    app.include_router(checkpoint_routes.reading)
    app.include_router(dashboard_routes.router)
    app.include_router(series_routes.charts)
    app.include_router(series_routes.router)
    app.include_router(health_routes.router)
    app.include_router(inbox_routes.router)
    app.include_router(advice_routes.router)
    app.include_router(alert_routes.router)
    app.include_router(project_routes.router)
    app.include_router(page.router)
