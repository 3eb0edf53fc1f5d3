"""Start a run: put together who it is, where it goes and what carries it there.

The only place where the environment, the clock and the interpreter's end meet. Mistakes in arguments and settings raise
here, at once; whether a service is there does not matter.
"""

from __future__ import annotations

import atexit
import getpass
import operator
import os
import platform
import socket
import sys
import time
from collections.abc import Iterable, Mapping

from gradvitals._version import __version__
from gradvitals.announce import Announcer
from gradvitals.config import clean_config, clean_links
from gradvitals.declarations import Attempt, RunDeclaration
from gradvitals.errors import ConfigurationError
from gradvitals.identity import default_name, find_launch, find_rank, find_run_id, uuid7
from gradvitals.own_differences import OwnDifferences
from gradvitals.pending import FrameStore, PendingFrames
from gradvitals.route import FixedRoute, OfflineRoute, Route, SearchedRoute
from gradvitals.run import FINISH_SECONDS, Run, close_open_runs
from gradvitals.sender import Sender
from gradvitals.settings import Settings, clean_name, find_service, read_settings
from gradvitals.spool import Spool
from gradvitals.spooled import SpooledFrames
from gradvitals.summary import Summary
from gradvitals.syncing import NextProcess
from gradvitals.transport import Transport

TAGS = 64


def init(
    project: str | None = None,
    name: str | None = None,
    *,
    config: object = None,
    tags: Iterable[str] = (),
    group: str | None = None,
    owner: str | None = None,
    run_id: str | None = None,
    step: int = 0,
    links: Mapping[str, str] | None = None,
    mode: str | None = None,
    url: str | Transport | None = None,
) -> Run:
    """Start a run and return it; raises ConfigurationError for a mistake, never because of the service.

    ``project`` is the team's space, else GRADVITALS_PROJECT, else "default". ``name`` is for people and need not be
    unique. ``config`` is a mapping, a namespace or a dataclass; what looks like a secret is left out. A resume passes
    ``run_id`` and, as ``step``, the number of its first step. ``mode`` is online, offline or disabled; it clips in
    each. ``url`` is where to send; in tests it may be a transport such as MemoryTransport.
    """
    if not (url is None or isinstance(url, str) or hasattr(url, "send_chunk")):
        raise ConfigurationError(f"url is {url!r}, expected an address such as http://127.0.0.1:8765 or a transport")
    settings = read_settings(project=project, mode=mode, url=url if isinstance(url, str) else None)
    first_step = _check_step(step)
    started_at = time.time()
    rank, world_size = find_rank(os.environ)
    disabled = settings.mode == "disabled"
    run_uuid = find_run_id(
        run_id,
        settings.project,
        rank=rank,
        world_size=1 if disabled else world_size,  # nobody sees a disabled run: no rank asks the others for its id
        environment=os.environ,
    )
    declaration = RunDeclaration(
        run_id=str(run_uuid),
        project=settings.project,
        name=clean_name("name", name if name is not None else default_name(started_at)),
        owner=clean_name("owner", owner) if owner is not None else _user(),
        group=clean_name("group", group) if group is not None else None,
        tags=_check_tags(tags),
        config={} if config is None else clean_config(config),
        links=clean_links(links),
        versions=_versions(),
    )
    attempt = Attempt(
        attempt_id=str(uuid7()),
        rank=rank,
        world_size=world_size,
        launch=str(find_launch(run_uuid, world_size=world_size, environment=os.environ)),
        host=clean_name("host", socket.gethostname() or "unknown"),
        pid=os.getpid(),
        started_at=started_at,
        resumed_from_step=first_step or None,
        interactive=hasattr(sys, "ps1") or "ipykernel" in sys.modules,
    )
    announcer = Announcer(enabled=rank == 0 and not settings.quiet and not disabled)
    if disabled:
        return Run(declaration, attempt, first_step=first_step, announcer=announcer, sender=None, route=OfflineRoute())
    route = _choose_route(settings, url, announcer)
    keeps = settings.spool_bytes > 0 and not isinstance(route, FixedRoute)  # a transport is a test's

    def tell_unreadable(name: str, fault: Exception) -> None:
        announcer.say_once(f"read {name}", f"{name!r} could not be read: {fault!r}")

    summary = Summary()
    store: FrameStore = PendingFrames(attempt.attempt_id, on_unreadable=tell_unreadable, count=summary.count)
    if rank != 0:
        store = OwnDifferences(store, on_unreadable=tell_unreadable)
    if keeps:
        store = SpooledFrames(
            store,
            Spool(settings.spool_directory, declaration, attempt.attempt_id, quota_bytes=settings.spool_bytes),
            announcer,
            attempt_id=attempt.attempt_id,
            sends=settings.mode == "online",
            at_once=rank == 0,
        )
    sender = Sender(declaration, attempt, store, route, announcer)
    sender.start()
    if keeps and rank == 0 and settings.mode == "online":
        NextProcess(
            settings.spool_directory,
            declaration.run_id,
            attempt.attempt_id,
            lambda: _choose_route(settings, url, announcer),
            announcer,
            sender.is_closing,
        ).start()
    atexit.register(_leave)  # a second call finds nothing open
    return Run(
        declaration,
        attempt,
        first_step=first_step,
        announcer=announcer,
        sender=sender,
        route=route,
        summary=summary,
    )


def _choose_route(settings: Settings, url: str | Transport | None, announcer: Announcer) -> Route:
    if settings.mode == "offline":
        return OfflineRoute(str(settings.spool_directory) if settings.spool_bytes else None)
    if url is not None and not isinstance(url, str):
        return FixedRoute(url)
    return SearchedRoute(lambda: find_service(settings, lambda line: announcer.say_once(line, line)))


def _leave() -> None:
    """At the interpreter's end: finish what is open. An uncaught exception has left its type in ``sys``."""
    kind = None if hasattr(sys, "ps1") else getattr(sys, "last_type", None)
    if kind is None:
        close_open_runs("finished", None, FINISH_SECONDS)
    else:
        close_open_runs("failed", kind.__name__, FINISH_SECONDS)


def _check_step(step: int) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise ConfigurationError(f"step is {step!r}, expected the number of the first step: an integer from 0 on")
    return number


def _check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise ConfigurationError(f"tags is {tags!r}, expected several strings such as ['sweep']")
    found = tuple(dict.fromkeys(clean_name("tags", tag) for tag in tags))
    if len(found) > TAGS:
        raise ConfigurationError(f"tags has {len(found)} entries, at most {TAGS} are kept")
    return found


def _user() -> str | None:
    try:
        return clean_name("owner", getpass.getuser())
    except (OSError, KeyError, ImportError, ConfigurationError):  # a container's user may have no name
        return None


def _versions() -> dict[str, str]:
    versions = {"gradvitals": __version__, "python": platform.python_version()}
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["torch"] = str(getattr(torch, "__version__", ""))
    return versions
