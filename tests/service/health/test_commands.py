"""The commands by which people choose how a project is judged, and look at what that would have changed."""

import io
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console
from service.health.test_what_if import eventful, quiet_norms, send
from service.speaking import ServiceUnderTest, Speaker
from typer.testing import CliRunner

from gradvitals_service import cli
from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.commands import show_detection, show_what_if


def printed(command: Any, service: ServiceUnderTest, about: str, **change: Any) -> str:
    """What a command prints on a terminal of 120 letters."""
    told = io.StringIO()
    command(
        service.app.state.session_factory,
        about,
        lambda options: options.changed(**change),
        Console(file=told, width=120),
    )
    return told.getvalue()


def rows(text: str) -> list[list[str]]:
    """The cells of a printed table, without its frame."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(("│", "┃"))]
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def told_of(run: Speaker, kind: str) -> list[dict[str, Any]]:
    return [event for event in run.service.get(f"{run.path}/events")["events"] if event["kind"] == kind]


class TestDetection:
    def test_is_shown_as_it_is_chosen(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        text = printed(show_detection, service, "gru-lm")
        assert text.splitlines()[0].strip() == "Detection of gru-lm"
        shown = dict(rows(text))
        assert (shown["sensitivity"], shown["off"], shown["ignored layers"]) == ("normal", "nothing", "none")
        assert {"explosion", "vanishing", "non_finite"} <= set(shown["on"].split(", "))
        assert "from the next frames" not in text

    def test_changes_what_is_given_and_leaves_the_rest(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        printed(show_detection, service, "gru-lm", sensitivity="calm", off=["vanishing"], ignore=["embed*"])
        text = printed(show_detection, service, "gru-lm", ignore=["*.bias"], heed=["embed*"])
        shown = dict(rows(text))
        assert (shown["sensitivity"], shown["off"], shown["ignored layers"]) == ("calm", "vanishing", "*.bias")
        assert "This holds from the next frames of its runs on" in text
        path = "/api/v1/projects/gru-lm/detection"
        assert service.get(path)["ignore"] == ["*.bias"]

    def test_of_an_unknown_project_is_refused(self, service: ServiceUnderTest) -> None:
        with pytest.raises(NotFoundError, match="there is no project 'gru-lm'"):
            printed(show_detection, service, "gru-lm")


class TestWhatIf:
    def test_of_a_run_shows_each_event_then_and_now(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        send(run, eventful())
        text = printed(show_what_if, service, str(run.run_id), sensitivity="keen", off=["vanishing"])
        assert text.splitlines()[0].strip() == "gru, clipped: paged once then, would page twice now"
        (lost_for,) = [f"{event['start_step']} to {event['end_step']}" for event in told_of(run, "vanishing")]
        assert rows(text)[1:] == [
            ["explosion", "600 to 619", "head.weight, encoder.weight", "critical, pages", "critical, pages"],
            ["vanishing", lost_for, "encoder.weight", "warning", "-"],
            ["explosion", "1150", "head.weight, encoder.weight", "-", "critical, pages"],
        ]
        assert text.splitlines()[-1] == "Now: sensitivity keen; off vanishing; ignored layers none."

    def test_of_a_project_shows_each_run_and_sums(self, service: ServiceUnderTest) -> None:
        eventful_run, quiet_run = service.declare_run(name="eventful"), service.declare_run(name="quiet")
        send(eventful_run, eventful())
        send(quiet_run, quiet_norms(300))
        text = printed(show_what_if, service, "gru-lm", sensitivity="keen")
        assert rows(text) == [
            ["run", "frames", "told → now", "paged → now"],
            ["quiet", "300", "0 → 0", "0 → 0"],
            [str(quiet_run.run_id), "", "", ""],
            ["eventful", "1,200", "2 → 3", "1 → 2"],
            [str(eventful_run.run_id), "", "", ""],
            ["all", "1,500", "2 → 3", "1 → 2"],
        ]

    def test_tries_a_change_of_what_the_project_has_chosen(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        send(run, eventful())
        printed(show_detection, service, "gru-lm", off=["explosion"])
        assert "would page never now" in printed(show_what_if, service, str(run.run_id))
        assert "would page once now" in printed(show_what_if, service, str(run.run_id), on=["explosion"])
        assert service.get("/api/v1/projects/gru-lm/detection")["off"] == ["explosion"]

    def test_of_a_project_without_runs_says_so(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert service.client.delete(run.path, headers=service.read).status_code == 204
        assert printed(show_what_if, service, "gru-lm") == "There are no runs in this project yet.\n"

    def test_of_what_is_not_there_is_refused(self, service: ServiceUnderTest) -> None:
        for about in ("gru", "0199a3c2-7d10-7abc-8def-0123456789ab"):
            with pytest.raises(NotFoundError, match=f"there is neither a project nor a run '{about}'"):
                printed(show_what_if, service, about)

    def test_shows_a_name_without_what_would_move_the_cursor(self, service: ServiceUnderTest) -> None:
        run = service.declare_run(name="\x1b[2Jgru [red]x")
        send(run, quiet_norms(10))
        assert printed(show_what_if, service, str(run.run_id)).startswith("?[2Jgru [red]x: paged never then")


class TestTheCommandLine:
    def invoke(self, service: ServiceUnderTest, *arguments: str) -> Any:
        return CliRunner().invoke(cli.app, [*arguments, "--database-url", service.settings.database_url])

    def test_takes_each_choice(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        choices = ["--sensitivity", "keen", "--off", "vanishing", "--off", "explosion", "--ignore", "a*"]
        assert self.invoke(service, "detection", "gru-lm", *choices).exit_code == 0
        answer = self.invoke(service, "detection", "gru-lm", "--on", "explosion", "--ignore", "b*", "--heed", "a*")
        shown = dict(rows(answer.output))
        assert (shown["sensitivity"], shown["off"], shown["ignored layers"]) == ("keen", "vanishing", "b*")

    def test_refuses_in_words(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        refused = [
            (["detection", "another"], "gradvitals-service: there is no project 'another'"),
            (["detection", "gru-lm", "--ignore", "x" * 513], "gradvitals-service: ignore[0]: Expected `str` of length"),
            (["detection", "gru-lm", "--off", "explosions"], "'explosions' is not one of "),
            (["what-if", "gru-lm", "--sensitivity", "loud"], "'loud' is not one of calm, normal, keen"),
        ]
        for arguments, words in refused:
            answer = self.invoke(service, *arguments)
            assert answer.exit_code != 0
            assert words in " ".join(answer.output.replace("│", " ").split())

    def test_shows_what_if_and_nothing_beside_it(self, service: ServiceUnderTest) -> None:
        """In a process of its own, since logs are set up for a whole one."""
        send(service.declare_run(), eventful())
        command = [sys.executable, "-m", "gradvitals_service.cli", "what-if", "gru-lm", "--sensitivity", "keen"]
        command += ["--database-url", service.settings.database_url]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=90)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert rows(shown.stdout)[1] == ["gru, clipped", "1,200", "2 → 3", "1 → 2"]
