"""What ``gradvitals-service detection`` and ``what-if`` do: choose for a project, and show what that would change.

They work on the database itself, beside a service that runs or without one. Names come from people's trainings, so
that nothing of them reaches a terminal but what can be printed.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_write
from gradvitals_service.errors import NotFoundError
from gradvitals_service.health import queries
from gradvitals_service.health.detectors import KINDS, Options
from gradvitals_service.health.queries import NamedRun
from gradvitals_service.health.what_if import WhatIf, extent, what_if
from gradvitals_service.projects.queries import choose_detection, find_project, get_project, read_detection
from gradvitals_service.runs.queries import get_run

Change = Callable[[Options], Options]
Sessions = sessionmaker[Session]

MOST_LAYERS_SHOWN = 3


def show_detection(session_factory: Sessions, project: str, change: Change, console: Console) -> None:
    """Change how a project is judged, if that is a change, and show how it is."""
    with begin_write(session_factory) as session:
        project_id = get_project(session, project)
        before = read_detection(session, project_id)
        options = change(before)
        if options != before:
            choose_detection(session, project_id, options)
    table = Table(title=Text(f"Detection of {printable(project)}"), title_justify="left", show_header=False)
    for name, value in described(options):
        table.add_row(name, Text(value))
    console.print(table)
    if options != before:
        console.print("This holds from the next frames of its runs on; what was told stays as it was told.")


def show_what_if(session_factory: Sessions, run_or_project: str, change: Change, console: Console) -> None:
    """Judge a run, or every run of a project, as it would be judged after a change, and show what would have paged."""
    with session_factory.begin() as session:
        runs, is_project = _find(session, run_or_project)
        tried = {run.project_id: change(read_detection(session, run.project_id)) for run in runs}
        total = sum(extent(session, run.run_id).frames for run in runs)
    found = []
    columns = (TextColumn("judging again"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress_console = Console(stderr=True)
    with Progress(*columns, console=progress_console, transient=True, disable=not progress_console.is_terminal) as bar:
        task = bar.add_task("frames", total=total)
        for run in runs:
            found.append(
                what_if(session_factory, run.run_id, tried[run.project_id], lambda frames: bar.advance(task, frames))
            )
    if not runs:
        console.print("There are no runs in this project yet.")
        return
    console.print(_of_runs(runs, found) if is_project else _of_events(runs[0], found[0]))
    said = "; ".join(f"{name} {value}" for name, value in described(next(iter(tried.values()))) if name != "on")
    console.print(Text(f"Now: {said}."))
    left_out = sum(one.left_out for one in found)
    if left_out:
        console.print(f"{left_out:,} frames could not be judged again: the norms of their layers are kept no longer.")


def described(options: Options) -> list[tuple[str, str]]:
    """What is chosen, in words."""
    on = [kind for kind in KINDS if kind not in options.off]
    return [
        ("sensitivity", options.sensitivity),
        ("on", ", ".join(on) or "nothing"),
        ("off", ", ".join(sorted(options.off)) or "nothing"),
        ("ignored layers", printable(", ".join(options.ignore)) or "none"),
    ]


def printable(text: str) -> str:
    """A name without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _find(session: Session, run_or_project: str) -> tuple[Sequence[NamedRun], bool]:
    """The runs that are meant, and whether a project was named."""
    project_id = find_project(session, run_or_project)
    if project_id is not None:
        return queries.runs_of_project(session, project_id), True
    try:
        run = get_run(session, UUID(run_or_project))
    except (ValueError, NotFoundError):
        raise NotFoundError(f"there is neither a project nor a run {run_or_project!r}") from None
    return [NamedRun(run.run_id, run.project_id, run.name)], False


def _of_runs(runs: Sequence[NamedRun], found: Sequence[WhatIf]) -> Table:
    frames, told, would_tell, paged, would_page = (
        sum(numbers) for numbers in zip(*((one.frames, *_counts(one)) for one in found), strict=True)
    )
    table = Table(show_footer=True)
    table.add_column("run", "all", overflow="fold")
    table.add_column("frames", f"{frames:,}", justify="right")
    table.add_column("told → now", _then_now(told, would_tell), justify="right")
    table.add_column("paged → now", _then_now(paged, would_page), justify="right")
    for run, one in zip(runs, found, strict=True):
        told, would_tell, paged, would_page = _counts(one)
        name = Text(printable(run.name)).append(f"\n{run.run_id}", style="dim")
        table.add_row(name, f"{one.frames:,}", _then_now(told, would_tell), _then_now(paged, would_page))
    return table


def _counts(found: WhatIf) -> tuple[int, int, int, int]:
    return len(found.on_record), len(found.told), found.paged, found.would_page


def _then_now(then: int, now: int) -> str:
    return f"{then:,} → {now:,}"


def _of_events(run: NamedRun, found: WhatIf) -> Table:
    title = Text(f"{printable(run.name)}: paged {_times(found.paged)} then, would page {_times(found.would_page)} now")
    table = Table(title=title, title_justify="left")
    for name in ("kind", "steps", "layers", "then", "now"):
        table.add_column(name, overflow="fold")
    then = {event.event_id: (event, paged) for event, paged in found.on_record}
    now = {told.event_id: told for told in found.told}
    rows = [(event.start_step, event.kind, key) for key, (event, _) in then.items()]
    rows += [(told.update.start_step, told.update.kind, key) for key, told in now.items() if key not in then]
    for start_step, kind, key in sorted(rows):
        layers = now[key].layers if key in now else then[key][0].layers
        end_step = now[key].update.end_step if key in now else then[key][0].end_step
        was = _said(then[key][0].severity, then[key][1]) if key in then else "-"
        would_be = _said(now[key].update.severity, now[key].pages) if key in now else "-"
        table.add_row(kind, _steps(start_step, end_step), Text(_layers(layers)), was, would_be)
    return table


def _said(severity: str, pages: bool) -> str:
    return f"{severity}, pages" if pages else severity


def _steps(start_step: int, end_step: int | None) -> str:
    if end_step is None:
        return f"{start_step} on"
    return f"{start_step} to {end_step}" if end_step > start_step else str(start_step)


def _layers(layers: Sequence[str]) -> str:
    more = len(layers) - MOST_LAYERS_SHOWN
    return printable(", ".join(layers[:MOST_LAYERS_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")
