"""What was found at some steps of a run, and the colours that tell its kinds apart in every picture.

The colours are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

from dataclasses import dataclass

KIND_COLOURS = {
    "explosion": "#D55E00",
    "vanishing": "#0072B2",
    "non_finite": "#CC79A7",
    "clip_saturation": "#E69F00",
    "instability": "#009E73",
}
OTHER_COLOUR = "#666666"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something at some steps, both included; without an end it lasts until the picture ends."""

    kind: str
    start_step: int
    end_step: int | None

    @property
    def colour(self) -> str:
        """The colour of its kind."""
        return colour_of(self.kind)


def colour_of(kind: str) -> str:
    """The colour of a kind of event."""
    return KIND_COLOURS.get(kind, OTHER_COLOUR)
