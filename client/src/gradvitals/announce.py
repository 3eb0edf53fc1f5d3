"""Tell the person, on stderr, in single lines that begin with ``gradvitals: ``.

What comes from elsewhere (a service's message, a name) is stripped of control characters: it ends on a terminal.
Telling never fails and never waits; a closed stderr is silence.
"""

from __future__ import annotations

import sys
import unicodedata

CLEAR_LINE = "\r\x1b[K"  # so that a progress bar on the same line stays whole
LONGEST_LINE = 1_000
DIFFERENT_LINES = 200  # of those said once: whoever makes up names at each step fills neither a log nor the memory


class Announcer:
    """Prints lines, or nothing when not ``enabled`` (another rank, a quiet or disabled run)."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._said: set[str] = set()

    def say(self, line: str) -> None:
        """Print one line."""
        if not self.enabled:
            return
        stream = sys.stderr
        try:
            text = f"{CLEAR_LINE if stream.isatty() else ''}gradvitals: {printable(line)}\n"
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode("ascii", "backslashreplace").decode())
            stream.flush()
        except Exception:  # noqa: BLE001 -- no stderr, a closed one, or somebody's own: none of them ends a training
            self.enabled = False

    def say_once(self, key: str, line: str) -> None:
        """Print one line unless one with the same ``key`` was printed before."""
        if key not in self._said and len(self._said) < DIFFERENT_LINES:
            self._said.add(key)
            self.say(line)


def counted(count: int, noun: str) -> str:
    """``1 frame``, ``2,000 frames``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(line: str) -> str:
    """One line without control characters, which could move a terminal's cursor or rewrite what was said."""
    clean = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in line)
    return clean if len(clean) <= LONGEST_LINE else clean[: LONGEST_LINE - 3] + "..."
