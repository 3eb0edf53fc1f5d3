"""Lines for the person."""

from __future__ import annotations

import io
import sys

import pytest

from gradvitals.announce import Announcer, printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_who_speaks(capsys):
    Announcer(enabled=True).say("hello")
    assert capsys.readouterr().err == "gradvitals: hello\n"


def test_on_a_terminal_the_line_of_a_progress_bar_is_cleared_first(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    Announcer(enabled=True).say("hello")
    assert sys.stderr.getvalue() == "\r\x1b[Kgradvitals: hello\n"


def test_nothing_is_said_when_it_is_not_enabled(capsys):
    Announcer(enabled=False).say("hello")
    assert capsys.readouterr().err == ""


def test_the_same_thing_is_said_once(capsys):
    announcer = Announcer(enabled=True)
    announcer.say_once("key", "first")
    announcer.say_once("key", "second")
    assert capsys.readouterr().err == "gradvitals: first\n"


@pytest.mark.parametrize("stream", [None, object()])
def test_no_stderr_is_silence(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    Announcer(enabled=True).say("hello")


def test_a_closed_stderr_is_silence(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    Announcer(enabled=True).say("hello")


def test_a_stream_that_breaks_in_its_own_way_is_silence(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("the widget is gone")

    monkeypatch.setattr(sys, "stderr", Broken())
    Announcer(enabled=True).say("hello")


def test_a_name_that_the_stream_cannot_spell_silences_nothing(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, "ascii", errors="strict", newline=""))
    announcer = Announcer(enabled=True)
    announcer.say("gruß")
    announcer.say("hello")
    assert written.getvalue() == b"gradvitals: gru\\xdf\ngradvitals: hello\n"


def test_lines_about_ever_new_things_come_to_an_end(capsys):
    announcer = Announcer(enabled=True)
    for number in range(1000):
        announcer.say_once(f"name {number}", "not kept")
    assert capsys.readouterr().err.count("\n") == 200


def test_what_could_rewrite_a_terminal_is_taken_out():
    assert printable("a\x1b[2Jb\nc\u202ed\u2028e") == "a [2Jb c d e"
    assert printable("gruß 模型") == "gruß 模型"


def test_a_long_line_is_cut():
    assert len(printable("x" * 5000)) == 1000
