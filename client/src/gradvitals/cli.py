"""The command ``gradvitals``: look at the client's own setup from a shell. Needs no torch and starts no run."""

from __future__ import annotations

import argparse
import email.utils
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from gradvitals._version import __version__
from gradvitals.errors import ConfigurationError, DeliveryError
from gradvitals.frames import WIRE_VERSION
from gradvitals.settings import VARIABLES, Destination, find_service, read_settings
from gradvitals.transport import CHUNK, Answer, HTTPTransport

CLOCK_SECONDS = 5.0  # a Date header has whole seconds, and the answer took a while
NOWHERE = "00000000-0000-0000-0000-000000000000"  # no run has this id, so that a check leaves no trace


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
        return check(options.url, print)
    except KeyboardInterrupt:
        return 130


def check(url: str | None, say: Callable[[str], None]) -> int:
    """Say, line by line, whether frames of a run that started now would reach a service."""
    try:
        settings = read_settings(url=url)
    except ConfigurationError as error:
        say(f"settings: {error}")
        return 1
    say(f"client: gradvitals {__version__}, wire version {WIRE_VERSION}, mode {settings.mode}")
    destination = find_service(settings, lambda line: say(f"note: {line}"))
    if destination is None:
        say(
            f"service: none is known. Set GRADVITALS_URL, or start `gradvitals-service serve` as this user "
            f"(it would write {settings.state_directory / 'service.json'})"
        )
        return 1
    return _check_service(destination, say)


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
        help="say whether frames would reach a service: address, clock, token, version",
        description="Say, line by line, whether frames would reach a service. The exit code is 0 when they would.",
    )
    check_parser.add_argument("--url", help="the service's address, instead of GRADVITALS_URL and the local service's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
