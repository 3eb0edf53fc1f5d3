"""Make what a person passes as ``config`` and ``links`` safe to send: plain JSON, bounded, without secrets.

Nothing here fails because of what a configuration holds; what cannot be told as JSON is told as its repr.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gradvitals.errors import ConfigurationError
from gradvitals.frames import wire_text
from gradvitals.settings import clean_name

REDACTED = "[redacted]"
CONFIG_DEPTH = 8
CONFIG_ITEMS = 1_000  # in one mapping or list
CONFIG_VALUES = 10_000  # in all of it: the service takes a run's declaration of a few MiB
CONFIG_CHARACTERS = 1 << 19  # of all texts and keys together; JSON may need six bytes for one
TEXT_CHARACTERS = 4_096

_Item = TypeVar("_Item")

_SECRET_WORDS = frozenset(
    {
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "passphrase",
        "passwd",
        "password",
        "secret",
        "secrets",
    }
)
_SECRET_PAIRS = frozenset((word, "key") for word in ("access", "api", "private", "secret", "signing"))
# What stands beside "token" where a language model's special token is meant and not a credential.
_SPECIAL_TOKENS = frozenset({"bos", "cls", "end", "eos", "image", "mask", "pad", "sep", "special", "start", "unk"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PASSWORD_IN_URL = re.compile(r"(://)[^/@\s]+@")


def wire_number(value: float) -> float | str:
    """A number as the wire's JSON spells it: what is not finite is a string."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def clean_config(config: object) -> dict[str, Any]:
    """A configuration as JSON: a mapping, a dataclass or a namespace; secrets redacted, the unknown as its repr.

    Of one that is too large the first part is kept.
    """
    cleaned = _Cleaner().clean(config, CONFIG_DEPTH)
    return cleaned if isinstance(cleaned, dict) else {"config": cleaned}


def clean_links(links: Mapping[str, str] | None) -> dict[str, str]:
    """Links to other pages about the run; only http and https ones, since a page will show them."""
    if links is not None and not isinstance(links, Mapping):
        raise ConfigurationError(f"links is {links!r}, expected addresses by their names")
    return {clean_name("links", str(name)): _text(str(url)) for name, url in (links or {}).items() if _is_web(str(url))}


def looks_secret(key: str) -> bool:
    """Whether a key's words name a secret: ``hf_token`` and ``apiKey`` do, ``max_tokens`` and ``pad_token`` do not."""
    words = [word.lower() for word in _WORD.findall(key)]
    if _SECRET_WORDS.intersection(words) or _SECRET_PAIRS.intersection(itertools.pairwise(words)):
        return True
    return "token" in words and not _SPECIAL_TOKENS.intersection(words)


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


class _Cleaner:
    """Cleans one configuration, as much of it as there is room for."""

    def __init__(self) -> None:
        self._values_left = CONFIG_VALUES
        self._characters_left = CONFIG_CHARACTERS

    def clean(self, value: object, depth: int) -> Any:
        """One value, and what it holds down to ``depth``."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.clean(value.value, depth)
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return int(value)
        if isinstance(value, float):
            return wire_number(float(value))
        if isinstance(value, str):
            return self._text(value)
        try:
            return self._text(repr(value)) if depth == 0 else self._container(value, depth - 1)
        except Exception:  # noqa: BLE001 -- a foreign object's own code; a config is no reason to stop a training
            return f"<{type(value).__name__}>"

    def _container(self, value: Any, depth: int) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        elif type(value).__name__ == "Namespace":  # argparse's, which most training scripts have at hand
            value = vars(value)
        if isinstance(value, Mapping):
            items = self._as_many_as_fit(value.items())
            return {self._text(str(key)): self._item(str(key), item, depth) for key, item in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.clean(item, depth) for item in self._as_many_as_fit(value)]
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a numpy or torch number
            return self.clean(value.item(), 0)
        return self._text(repr(value) if not hasattr(value, "__fspath__") else str(value))

    def _item(self, key: str, value: object, depth: int) -> Any:
        if looks_secret(key) and value is not None and not isinstance(value, (bool, float, Mapping)):
            return REDACTED
        return self.clean(value, depth)

    def _text(self, text: str) -> str:
        cleaned = _text(text)
        self._characters_left -= len(cleaned)
        return cleaned

    def _as_many_as_fit(self, items: Iterable[_Item]) -> Iterator[_Item]:
        for item in itertools.islice(items, CONFIG_ITEMS):
            if self._values_left <= 0 or self._characters_left <= 0:
                return
            self._values_left -= 1
            yield item


def _text(text: str) -> str:
    return wire_text(_PASSWORD_IN_URL.sub(rf"\1{REDACTED}@", text[:TEXT_CHARACTERS]))
