"""The command ``gradvitals``: look at the client's own setup, and send what is spooled. Needs no torch."""

from __future__ import annotations

import argparse
import email.utils
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gradvitals._version import __version__
from gradvitals.announce import CLEAR_LINE, counted, printable
from gradvitals.errors import ConfigurationError, DeliveryError
from gradvitals.frames import WIRE_VERSION
from gradvitals.leftovers import find_leftovers
from gradvitals.route import FixedRoute
from gradvitals.segments import replace_file
from gradvitals.settings import VARIABLES, Destination, Settings, find_service, read_settings
from gradvitals.status import WHAT, show_status
from gradvitals.syncing import LOOK_SECONDS, Relay, Syncing
from gradvitals.transport import CHUNK, Answer, HTTPTransport

CLOCK_SECONDS = 5.0  # a Date header has whole seconds, and the answer took a while
NOWHERE = "00000000-0000-0000-0000-000000000000"  # no run has this id, so that a check leaves no trace

NO_SERVICE = "none is known. Set GRADVITALS_URL, or start `gradvitals-service serve` as this user (it would write {})"


class _Versions(msgspec.Struct, frozen=True):
    wire_versions: list[int] = []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0 when all is well, 1 when something is wrong, 2 for a wrong command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        if options.command == "status":
            if options.what:
                print(WHAT)
                return 0
            return status(_say)
        if options.command == "sync":
            return sync(options.url, options.watch, _say)
        return check(options.url, print)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read this, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _say(line: str) -> None:
    """Print one line at once, also into a pipe; what it names came from elsewhere."""
    print(printable(line), flush=True)


def status(say: Callable[[str], None]) -> int:
    """Say what is spooled."""
    try:
        settings = read_settings()
    except ConfigurationError as error:
        say(f"settings: {error}")
        return 1
    return show_status(settings.spool_directory, say)


def sync(url: str | None, watch: str | None, say: Callable[[str], None]) -> int:
    """Send what is spooled: 0 when nothing is left to send, 1 when something is."""
    try:
        settings = read_settings(url=url)
    except ConfigurationError as error:
        say(f"settings: {error}")
        return 1
    root = settings.spool_directory if watch is None else Path(os.path.expanduser(watch))
    if watch is not None and not root.is_dir():
        say(f"{root} is no folder; give the one that is GRADVITALS_SPOOL_DIR where the runs are")
        return 1
    destination = find_service(settings, lambda line: say(f"note: {line}"))
    if destination is None:
        say("service: " + NO_SERVICE.format(settings.state_directory / "service.json"))
        return 1
    transport = HTTPTransport(destination.url, destination.token)
    try:
        if watch is not None:
            return _relay(Relay(root, FixedRoute(transport), say), destination, root, say)
        synced = Syncing(root, FixedRoute(transport), say, _show_progress).send_everything()
    finally:
        transport.close()
    if not synced.attempts and not synced.failed:
        say(f"{root}: nothing to send")
    else:
        left = f"; {counted(synced.failed, 'attempt')} kept for the next sync" if synced.failed else ""
        sent = f"{counted(synced.frames, 'frame')} of {counted(synced.attempts, 'attempt')} sent"
        say(f"{sent} to {destination.url}{left}")
    return 1 if synced.failed else 0


def _relay(relay: Relay, destination: Destination, root: Path, say: Callable[[str], None]) -> int:
    """Follow a spool until somebody ends this."""
    say(f"following {root} for {destination.url}; Ctrl-C ends this, and loses nothing")
    while True:
        relay.look(time.monotonic())
        time.sleep(LOOK_SECONDS)


def _show_progress(line: str) -> None:
    """Write over the line on a terminal; nothing elsewhere, so that a log has one line an attempt."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{CLEAR_LINE}{printable(line)}")
        sys.stderr.flush()


def check(url: str | None, say: Callable[[str], None]) -> int:
    """Say, line by line, whether frames of a run that started now would reach a service."""
    try:
        settings = read_settings(url=url)
    except ConfigurationError as error:
        say(f"settings: {error}")
        return 1
    say(f"client: gradvitals {__version__}, wire version {WIRE_VERSION}, mode {settings.mode}")
    spool_is_good = _check_spool(settings, say)
    destination = find_service(settings, lambda line: say(f"note: {line}"))
    if destination is None:
        say(f"service: {NO_SERVICE.format(settings.state_directory / 'service.json')}")
        return 1
    return max(_check_service(destination, say), 0 if spool_is_good else 1)


def _check_spool(settings: Settings, say: Callable[[str], None]) -> bool:
    """Whether frames can be kept on disk, and how much room there is."""
    root = settings.spool_directory
    if not settings.spool_bytes:
        say("spool: switched off by GRADVITALS_SPOOL_MIB=0; frames that are not sent end with their process")
        return True
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = root / f".check-{os.getpid()}"
        replace_file(probe, 0, b"", sync=True)
        probe.unlink()
        free = shutil.disk_usage(root).free
    except OSError as error:
        say(f"spool: {root} cannot be written ({error.strerror}); set GRADVITALS_SPOOL_DIR to a folder that can")
        return False
    room = f"{free / 2**20:,.0f} MiB free, {settings.spool_bytes >> 20:,} MiB for each process at most"
    if free < settings.spool_bytes:
        say(f"spool: {root} has little room: {room}; set GRADVITALS_SPOOL_DIR or a smaller GRADVITALS_SPOOL_MIB")
        return False
    waiting = sum(1 for _ in find_leftovers(root))
    say(
        f"spool: {root}, {room}"
        + (f"; {counted(waiting, 'attempt')} there, see `gradvitals status`" if waiting else "")
    )
    return True


def _check_service(destination: Destination, say: Callable[[str], None]) -> int:
    transport = HTTPTransport(destination.url, destination.token)
    try:
        started = time.monotonic()
        health = transport.request("GET", "/healthz")
        took = time.monotonic() - started
        if health.status != 200:
            say(f"service: {destination.url} answered {health.status} to GET /healthz; is it a gradvitals service?")
            return 1
        say(f"service: {destination.url} answers in {1000 * took:.0f} ms")
        clock_is_right = _check_clock(health, say)
        # A chunk of no version: refused for its token first, else for its version, naming those that are spoken.
        body = msgspec.msgpack.encode({"v": 0})
        token_is_good = _check_token(
            destination, transport.request("POST", f"/api/v1/runs/{NOWHERE}/chunks", body, CHUNK), say
        )
    except DeliveryError as error:
        say(f"service: {error}")
        return 1
    finally:
        transport.close()
    return 0 if clock_is_right and token_is_good else 1


def _check_clock(health: Answer, say: Callable[[str], None]) -> bool:
    """Compare the clocks, since a page with the times of both would mislead."""
    date = next((value for name, value in health.headers.items() if name.lower() == "date"), "")
    try:
        ahead = time.time() - email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        say("clock: the service does not say its time")
        return True
    if abs(ahead) <= CLOCK_SECONDS:
        say("clock: agrees with the service's")
        return True
    where = "ahead of" if ahead > 0 else "behind"
    say(f"clock: this machine is {abs(ahead):.0f} s {where} the service; set one of them")
    return False


def _check_token(destination: Destination, answer: Answer, say: Callable[[str], None]) -> bool:
    if answer.status in (401, 403):
        given = "GRADVITALS_TOKEN is not an ingest token of this service" if destination.token else "none is set"
        say(f"token: {given}; set GRADVITALS_TOKEN to an ingest token of {destination.url}")
        return False
    say("token: accepted")
    try:
        spoken = msgspec.json.decode(answer.body, type=_Versions).wire_versions
    except (msgspec.MsgspecError, UnicodeError):
        spoken = []
    if WIRE_VERSION in spoken:
        say(f"version: the service speaks wire version {', '.join(map(str, spoken))}")
        return True
    say(f"version: the service does not say that it speaks wire version {WIRE_VERSION} (it answered {answer.status})")
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradvitals",
        description="Clip gradients, measure every layer, and hear of it when training blows up.",
        epilog="environment variables:\n" + "\n".join(f"  {name:22} {text}" for name, text in VARIABLES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gradvitals {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    check_parser = commands.add_parser(
        "check",
        help="say whether frames would reach a service: spool, address, clock, token, version",
        description="Say, line by line, whether frames would reach a service. The exit code is 0 when they would.",
    )
    url_help = "the service's address, instead of GRADVITALS_URL and the local service's"
    check_parser.add_argument("--url", help=url_help)
    status_parser = commands.add_parser(
        "status",
        help="say what is kept on disk because it is not sent yet",
        description="Say for each run what is kept on disk because it is not sent yet, how much and how old it is.",
    )
    status_parser.add_argument(
        "--what", action="store_true", help="say what is sent of a run at all, and what never is"
    )
    sync_parser = commands.add_parser(
        "sync",
        help="send what is kept on disk: offline runs, and what dead processes left",
        description="Send what is kept on disk. Nobody is paged for it, since it is no news. The exit code is 0 when "
        "nothing is left to send, and 1 when something is; then try again.",
    )
    sync_parser.add_argument("--url", help=url_help)
    sync_parser.add_argument(
        "--watch",
        metavar="DIR",
        help="follow this spool folder and send what runs write there, as they do: on a login node, for a cluster "
        "whose machines reach no network",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
