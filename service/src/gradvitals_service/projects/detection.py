"""How a project's choices about detection are stored: as JSON, read leniently.

A kind or a word that this version does not know was chosen under a newer one, and is left out.
"""

from typing import Any

from gradvitals_service.health.detectors import KINDS, NORMAL, SENSITIVITIES, Options, Sensitivity


def to_stored(options: Options) -> dict[str, Any]:
    """As the column holds it."""
    return {"sensitivity": options.sensitivity, "off": sorted(options.off), "ignore": list(options.ignore)}


def from_stored(stored: dict[str, Any] | None) -> Options:
    """What the column says; None is a project that has chosen nothing."""
    if stored is None:
        return NORMAL
    sensitivity: Sensitivity = next((word for word in SENSITIVITIES if word == stored.get("sensitivity")), "normal")
    off = frozenset(kind for kind in KINDS if kind in stored.get("off", ()))
    return Options(sensitivity, off, tuple(stored.get("ignore", ())))
