"""What a project may choose about its detection: how sensitive it is, which kinds are off, which layers are left out.

Three words instead of a number for each threshold: a threshold means nothing alone, and twenty of them cannot be set by
looking at alarms.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import cached_property
from typing import Final, Literal, get_args

from gradvitals_service.health.detectors.interface import Kind

Sensitivity = Literal["calm", "normal", "keen"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SENSITIVITIES: Final[tuple[Sensitivity, ...]] = get_args(Sensitivity)

DISTANCES: Final[dict[Sensitivity, float]] = {"calm": 4 / 3, "normal": 1.0, "keen": 3 / 4}
"""How far a norm must be from the usual, as a multiple of the distance on the log scale that the detectors ask for by
themselves. The rarity that they demand of the run's own noise is such a distance too, so that one factor moves both: a
jump of 30 becomes one of 13 or 93, once in a million frames once in 40,000 or in 80 million. Nearer than three quarters
a layer would count as fallen (a thirtieth) and as recovered (a tenth) at the same time."""


@dataclass(frozen=True)
class Options:
    """The choices of one project. ``ignore`` are globs over the names of tensors and of modules."""

    sensitivity: Sensitivity = "normal"
    off: frozenset[Kind] = frozenset()
    ignore: tuple[str, ...] = ()

    @property
    def distance(self) -> float:
        """What every distance on the log scale is multiplied by."""
        return DISTANCES[self.sensitivity]

    def ignores(self, *names: str) -> bool:
        """Whether a layer that goes by any of these names is left out; capitals count."""
        return bool(self.ignore) and any(map(self._ignored_name.match, names))

    @cached_property
    def _ignored_name(self) -> re.Pattern[str]:
        return re.compile("|".join(map(translate, self.ignore)))

    def changed(
        self,
        sensitivity: Sensitivity | None = None,
        *,
        off: Collection[Kind] = (),
        on: Collection[Kind] = (),
        ignore: Collection[str] = (),
        heed: Collection[str] = (),
    ) -> "Options":
        """These with some changes: kinds turned off and on, globs added and taken away."""
        globs = dict.fromkeys((*self.ignore, *ignore))
        return replace(
            self,
            sensitivity=sensitivity or self.sensitivity,
            off=(self.off | frozenset(off)) - frozenset(on),
            ignore=tuple(glob for glob in globs if glob not in heed),
        )


NORMAL: Final = Options()
