"""The command ``gradvitals-service``: serve, migrate, retention, detection, what-if, demo, replay, link."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service import migrating
from gradvitals_service._version import __version__
from gradvitals_service.alerts.apprise_channel import InvalidChannelError
from gradvitals_service.auth.tokens import load_tokens
from gradvitals_service.database import begin_write, database_reason, make_engine, make_session_factory
from gradvitals_service.errors import MalformedError, NotFoundError
from gradvitals_service.health.detectors import KINDS, NORMAL, SENSITIVITIES, Options
from gradvitals_service.logs import configure_logs
from gradvitals_service.projects.queries import keep_raw_layers
from gradvitals_service.projects.schemas import checked
from gradvitals_service.serving import CannotServeError, serve, sqlite_path
from gradvitals_service.settings import Settings

Word = TypeVar("Word", bound=str)

app = typer.Typer(
    name="gradvitals-service",
    help="Stores, judges and shows the gradients of training runs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

HostOption = Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless set.")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on; 8765 unless set, 0 takes a free one.")]
DatabaseOption = Annotated[
    str | None, typer.Option(help="SQLite or PostgreSQL URL; SQLite in the data folder if absent.")
]
SensitivityOption = Annotated[str | None, typer.Option(help=f"One of {', '.join(SENSITIVITIES)}.")]
OffOption = Annotated[list[str] | None, typer.Option(help=f"Kind to turn off: {', '.join(KINDS)}; repeatable.")]
OnOption = Annotated[list[str] | None, typer.Option(help="Kind to turn on again; repeatable.")]
IgnoreOption = Annotated[list[str] | None, typer.Option(help="Glob of layers or modules to ignore; repeatable.")]
HeedOption = Annotated[list[str] | None, typer.Option(help="Such a glob to take away again; repeatable.")]


@app.command("serve")
def serve_command(
    host: HostOption = None,
    port: PortOption = None,
    database_url: DatabaseOption = None,
    alert: Annotated[list[str] | None, typer.Option(help="Apprise URL that critical events go to; repeatable.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; only 1 for now.", min=1)] = 1,
) -> None:
    """Run the service, and print a link that opens the dashboard once."""
    if workers > 1:
        _fail("--workers above 1 is not possible with SQLite, which serves one process; for PostgreSQL start several")
    with _plain_errors():
        settings = _settings(host=host, port=port, database_url=database_url, alert=tuple(alert) if alert else None)
        configure_logs(settings.log_format)
        serve(settings)


@app.command("migrate")
def migrate_command(database_url: DatabaseOption = None) -> None:
    """Bring the database up to date; safe when two do it at once."""
    with _plain_errors():
        settings = _settings(database_url=database_url)
        configure_logs(settings.log_format)
        if path := sqlite_path(settings.database_url):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = make_engine(settings.database_url)
        try:
            migrating.upgrade(engine)
        finally:
            engine.dispose()
        print("the database is up to date")


@app.command("retention")
def retention_command(
    project: Annotated[str, typer.Argument(help="Name of the project.")],
    days: Annotated[int | None, typer.Argument(help="After so many days; for ever if absent.", min=1)] = None,
    database_url: DatabaseOption = None,
) -> None:
    """Say for how long a project keeps the norm of every layer at every step; charts and events stay for ever."""
    with _plain_errors():
        engine = make_engine(_settings(database_url=database_url).database_url)
        try:
            with begin_write(make_session_factory(engine)) as session:
                keep_raw_layers(session, project, days)
        except NotFoundError as error:
            _fail(str(error))
        finally:
            engine.dispose()
        print(f"{project} keeps the norms of its layers {'for ever' if days is None else f'for {days} days'}")


@app.command("detection")
def detection_command(
    project: Annotated[str, typer.Argument(help="Name of the project.")],
    sensitivity: SensitivityOption = None,
    off: OffOption = None,
    on: OnOption = None,
    ignore: IgnoreOption = None,
    heed: HeedOption = None,
    database_url: DatabaseOption = None,
) -> None:
    """Show how a project is judged, after changing what is given; running trainings follow within seconds."""
    from gradvitals_service.health.commands import show_detection  # it brings much that other commands do without

    change = _change(sensitivity, off, on, ignore, heed)
    with _plain_errors(), _sessions(database_url) as session_factory:
        show_detection(session_factory, project, change, Console())


@app.command("what-if")
def what_if_command(
    run_or_project: Annotated[str, typer.Argument(help="Id of a run, or name of a project for all of its runs.")],
    sensitivity: SensitivityOption = None,
    off: OffOption = None,
    on: OnOption = None,
    ignore: IgnoreOption = None,
    heed: HeedOption = None,
    database_url: DatabaseOption = None,
) -> None:
    """Judge what is stored again as the project would be judged after a change: what would have paged? Nothing
    changes by it."""
    from gradvitals_service.health.commands import show_what_if

    change = _change(sensitivity, off, on, ignore, heed)
    with _plain_errors(), _sessions(database_url) as session_factory:
        configure_logs(_settings().log_format)  # what the disk has spoiled is told apart from the table
        show_what_if(session_factory, run_or_project, change, Console())


@app.command("demo")
def demo_command(
    host: HostOption = None,
    port: PortOption = None,
    database_url: DatabaseOption = None,
    exit_when_done: Annotated[bool, typer.Option("--exit", help="End after the comparison.")] = False,
) -> None:
    """Train a GRU with and without clipping, and show what was found; needs torch and the gradvitals client."""
    from gradvitals_service.demo.story import run_demo  # the training is needed by nothing else

    with _plain_errors():
        settings = _settings(host=host, port=port, database_url=database_url)
        code = run_demo(
            host=settings.host, port=settings.port, database_url=settings.database_url, exit_when_done=exit_when_done
        )
    raise typer.Exit(code)


@app.command("replay")
def replay_command(
    traces: Annotated[Path, typer.Argument(help="Folder of recorded traces.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="JSON file to write the events to.")],
    plot: Annotated[Path | None, typer.Option(help="Folder to draw each run into, as NAME.png.")] = None,
    sensitivity: SensitivityOption = None,
    off: OffOption = None,
    ignore: IgnoreOption = None,
) -> None:
    """Run the detectors over a folder of traces, and write the events that they find."""
    from gradvitals_service.health.replay import TraceError, replay  # needed by nothing else

    options = _change(sensitivity, off, None, ignore, None)(NORMAL)
    with _plain_errors():
        try:
            replay(traces, out, options, plot)
        except TraceError as error:
            _fail(str(error))


@app.command("link")
def link_command() -> None:
    """Print a fresh one-time login link for the service that runs here."""
    with _plain_errors():
        settings = _settings()
        path = settings.state_dir / "service.json"
        try:
            url = str(json.loads(path.read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError):
            _fail(f"no service of yours runs here: {path} is not there; start one with `gradvitals-service serve`")
        print(_fresh_link(url, load_tokens(settings).read))


def _fresh_link(url: str, token: str) -> str:
    """Ask the running service; the token leaves this process only to the address in the user's own file."""
    if not url.startswith(("http://", "https://")):
        _fail(f"the service's file names {url!r}, which is no web address")
    request = urllib.request.Request(f"{url}/api/v1/login-codes", method="POST")  # noqa: S310  # checked above
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  # checked above
            return str(json.load(answer)["url"])
    except urllib.error.HTTPError as refusal:
        _fail(f"the service at {url} refused: {refusal.reason}")
    except OSError:
        _fail(f"the service at {url} does not answer; start one with `gradvitals-service serve`")


def _change(
    sensitivity: str | None,
    off: list[str] | None,
    on: list[str] | None,
    ignore: list[str] | None,
    heed: list[str] | None,
) -> Callable[[Options], Options]:
    """What the options of a command line change; words that nobody knows are refused at once."""
    word = _word(sensitivity, SENSITIVITIES, "--sensitivity") if sensitivity else None
    kinds_off = [_word(kind, KINDS, "--off") for kind in off or ()]
    kinds_on = [_word(kind, KINDS, "--on") for kind in on or ()]

    def change(options: Options) -> Options:
        return checked(options.changed(word, off=kinds_off, on=kinds_on, ignore=ignore or (), heed=heed or ()))

    return change


def _word(given: str, known: Sequence[Word], option: str) -> Word:
    for word in known:
        if word == given:
            return word
    raise typer.BadParameter(f"{given!r} is not one of {', '.join(map(str, known))}", param_hint=option)


@contextmanager
def _sessions(database_url: str | None) -> Iterator[sessionmaker[Session]]:
    """The database for one command; what is asked for and not there is told in words."""
    engine = make_engine(_settings(database_url=database_url).database_url)
    try:
        yield make_session_factory(engine)
    except (NotFoundError, MalformedError) as error:
        _fail(str(error))
    finally:
        engine.dispose()


def _settings(**given: Any) -> Settings:
    """The command line over the environment over defaults; an option that was not given says nothing."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc'])) or 'settings'}: {found['msg']}" for found in error.errors()]
        _fail("; ".join(problems).replace("Value error, ", ""))


@contextmanager
def _plain_errors() -> Iterator[None]:
    """One line instead of a traceback for what a person can put right, and silence for Ctrl-C."""
    try:
        yield
    except (CannotServeError, InvalidChannelError) as error:
        _fail(str(error))
    except SQLAlchemyError as error:
        _fail(f"the database cannot be used: {database_reason(error)}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _fail(message: str) -> NoReturn:
    print(f"gradvitals-service: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Stores, judges and shows the gradients of training runs."""


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
