"""What finished runs came to, read from the service over HTTP and set side by side.

Knows nothing of how the runs were made. Every number is the service's own, so the table shows the whole path at work.
"""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

ARRIVAL_SECONDS = 15.0


class Reader:
    """The service's reading API; never through a proxy, since it is on this machine."""

    def __init__(self, url: str, read_token: str) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {read_token}"}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, **query: object) -> Any:
        """Read one JSON answer; OSError when there is none."""
        return self._ask(urllib.request.Request(f"{self.url}{path}?{urlencode(query)}", headers=self._headers))  # noqa: S310

    def login_link(self) -> str:
        """An address that logs one browser in, once."""
        request = urllib.request.Request(  # noqa: S310 - our own address, always http
            f"{self.url}/api/v1/login-codes", data=b"{}", method="POST", headers=self._headers
        )
        request.add_header("Content-Type", "application/json")
        return str(self._ask(request)["url"])

    def _ask(self, request: urllib.request.Request) -> Any:
        with self._opener.open(request, timeout=30) as answer:
            return json.load(answer)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One column of the comparison, as the service tells it."""

    title: str
    final_loss: str
    largest_norm: str
    first_event: str
    clip_rate: str
    steps: str


def finished_run(reader: Reader, run_id: str) -> dict[str, Any]:
    """The run as the service tells it, once its end has arrived with all of its steps."""
    give_up = time.monotonic() + ARRIVAL_SECONDS
    while True:
        try:
            run: dict[str, Any] = reader.get(f"/api/v1/runs/{run_id}")
        except OSError as error:
            if time.monotonic() > give_up:
                raise TimeoutError(f"the run did not arrive at {reader.url}: {error}") from None
        else:
            if run["state"] in ("finished", "failed") or time.monotonic() > give_up:
                return run
        time.sleep(0.1)


def read_outcome(reader: Reader, title: str, run: dict[str, Any]) -> Outcome:
    """Ask the service what one run came to."""
    path = f"/api/v1/runs/{run['run_id']}"
    series = reader.get(f"{path}/series", metrics="global_norm,clip_rate", points=1)
    norms, clip_rates = series["series"]["global_norm"], series["series"]["clip_rate"]["mean"]
    finite = [norm for norm in norms["max"] if norm is not None]
    non_finite = sum(norms["non_finite"])
    events = sorted(reader.get(f"{path}/events")["events"], key=lambda event: event["start_step"])
    return Outcome(
        title=title,
        final_loss=number(run["loss"]),
        largest_norm=number(max(finite, default=None)) + (", then non-finite" if non_finite else ""),
        first_event=f"{events[0]['kind']} at step {events[0]['start_step']}" if events else "none",
        clip_rate="unknown" if clip_rates[0] is None else f"{clip_rates[0]:.0%}",
        steps=str(series["frames"]),
    )


def number(value: float | str | None) -> str:
    """A number of the wire as a person reads it: three digits, or the word for what is not finite."""
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else f"{value:.3g}"


def lay_out(outcomes: list[Outcome], emphasize: Callable[[str], str] = str) -> str:
    """The outcomes side by side; ``emphasize`` dresses the line of titles."""
    rows = [
        ("", [outcome.title for outcome in outcomes]),
        ("steps", [outcome.steps for outcome in outcomes]),
        ("final loss", [outcome.final_loss for outcome in outcomes]),
        ("largest norm", [outcome.largest_norm for outcome in outcomes]),
        ("first event", [outcome.first_event for outcome in outcomes]),
        ("clip rate", [outcome.clip_rate for outcome in outcomes]),
    ]
    width = max(len(cell) for _, cells in rows for cell in cells)
    titles, *lines = [
        f"  {label:<14}" + "   ".join(f"{cell:<{width}}" for cell in cells).rstrip() for label, cells in rows
    ]
    return "\n".join([emphasize(titles), *lines])
