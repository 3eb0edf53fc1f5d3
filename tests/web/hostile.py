"""200 names that somebody might give to a run to harm who looks at it, or by mistake; the same ones every time."""

import unicodedata
from collections.abc import Iterator
from itertools import cycle, islice

COUNT = 200

RUN_ME = "window.hacked=1"

SCRIPTS = [
    f"<script>{RUN_ME}</script>",
    f"</script><script>{RUN_ME}</script>",
    f"<ScRiPt/x>{RUN_ME}</sCrIpT>",
    f'<img src=x onerror="{RUN_ME}">',
    f"<svg onload={RUN_ME}>",
    f"<svg><script>{RUN_ME}</script></svg>",
    f"<iframe srcdoc='<script>parent.{RUN_ME}</script>'>",
    f'<details open ontoggle="{RUN_ME}">',
    f"</title><svg onload={RUN_ME}>",
    f"</textarea><img src onerror={RUN_ME}>",
    f"--><script>{RUN_ME}</script><!--",
    f"]]><script>{RUN_ME}</script>",
    f"<math><mtext><img src onerror={RUN_ME}>",
    f"<body onload={RUN_ME}>",
    f'" onmouseover="{RUN_ME}" x="',
    f"' autofocus onfocus='{RUN_ME}",
]
MARKUP = [
    "<b>bold</b>",
    "<h1>heading</h1>",
    "<a href=https://example.org>here</a>",
    "<base href=//example.org>",
    "<meta http-equiv=refresh content=0>",
    "<link rel=stylesheet href=//example.org/a.css>",
    "<style>*{display:none}</style>",
    "<form action=//example.org><button>",
    "<!--",
    "<![CDATA[x]]>",
    "&lt;b&gt;",
    "&amp;amp;",
    "&#60;script&#62;",
    "&NewLine;&Tab;",
    "<",
    "a<b>c",
]
TEMPLATES = [
    f"{{{{constructor.constructor('{RUN_ME}')()}}}}",
    f"${{{RUN_ME}}}",
    f"{{@html '<img src onerror={RUN_ME}>'}}",
    "{#if true}x{/if}",
    "<%= 7*7 %>",
    "{{7*7}}",
    "%{7*7}",
    "#{7*7}",
    "$x_{1}^{2}$",
    "\\frac{1}{0}",
]
QUERIES = [
    "' OR 1=1 --",
    "'; DROP TABLE runs; --",
    '" OR ""="',
    "1; SELECT pg_sleep(9)",
    "%' ESCAPE '\\",
    "%_%",
    "\\x00",
    "NULL",
]
ADDRESSES = [
    f"javascript:{RUN_ME}",
    f"JaVaScRiPt:{RUN_ME}",
    f"java\tscript:{RUN_ME}",
    f"data:text/html,<script>{RUN_ME}</script>",
    f"vbscript:{RUN_ME}",
    "//example.org",
    "https://example.org/?q=<b>&x=1#y",
    "../../../etc/passwd",
    "?q=1&health=critical",
    "#content",
    "%2e%2e%2f%00",
    "file:///etc/passwd",
]
PROPERTIES = [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "length",
    "null",
    "undefined",
    "NaN",
]
DIRECTIONS = [
    "\u202egnitset txet",
    "\u2066a\u2067b",
    "\u200fשלום abc",  # noqa: RUF001  # to be taken for something else is what it is for
    "مرحبا بالعالم",
    "abc \u202d123\u202c",
    "\u061cx",
]
UNSEEN = [
    "a\u200bb\u200c\u200d",
    "\ufeffmark",
    "\u00adsoft",
    "x\u2028y\u2029z",
    "\u2060\u2063",
    "a\u0001b\u001bc",
    "bell\u0007",
    "\u007f\u0085",
]
SCRIPTURES = [
    "z\u0351\u036b\u0343" * 40,
    "e" + "\u0301" * 100,
    unicodedata.normalize("NFD", "Ångström é"),
    "層歸一化",
    "👩‍👩‍👧‍👦🏳️‍🌈" * 8,
    "ﷺ" * 30,
    "Ω≠∞½",
    "İıſK",  # noqa: RUF001  # which change their length or their letter with their case
]
STYLES = [
    "}*{display:none}",
    "expression(alert(1))",
    "url(//example.org)",
    "; color: red",
    "\\75rl(x)",
    "@import '//example.org'",
]
LONG = ["x" * 512, "w" * 200 + " " + "w" * 200, "-" * 512, "\u202e" + "y" * 500, "a b " * 128, "<b>" * 170]
ODD = [
    " leading and trailing ",
    "two\nlines",
    "tab\there",
    "\r\nHeader: x",
    "=1+1",
    "@SUM(1)",
    "-1",
    "0",
    "1e999",
    "C:\\con",
    "$(reboot)",
    "`id`",
    "| rm -rf",
    "; ls",
]

KINDS = (SCRIPTS, MARKUP, TEMPLATES, QUERIES, ADDRESSES, PROPERTIES, DIRECTIONS, UNSEEN, SCRIPTURES, STYLES, LONG, ODD)


def _combined(names: list[str]) -> Iterator[str]:
    """Each name between two others of other kinds, for ever."""
    turned = cycle(names[37:] + names[:37])
    for name, other in zip(cycle(names), turned, strict=True):
        yield f"{other[:60]} {name[:300]} {other[-60:]}"


def _names() -> list[str]:
    names = list(dict.fromkeys(name for kind in KINDS for name in kind))
    for name in _combined(names.copy()):
        if len(names) == COUNT:
            break
        if name not in names:
            names.append(name)
    return names


HOSTILE = _names()


def in_twelve() -> Iterator[list[str]]:
    """All of them in twelve shares, of which each has some of every kind."""
    for place in range(12):
        yield list(islice(HOSTILE, place, None, 12))
