"""The JSON of what a project chooses."""

from typing import Annotated

import msgspec
from pydantic import BaseModel, Field

from gradvitals_service.bodies import field_and_reason
from gradvitals_service.errors import MalformedError
from gradvitals_service.health.detectors import Kind, Options, Sensitivity

MOST_GLOBS = 100

Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=r"^[^\x00]*\Z")]


class DetectionChoice(msgspec.Struct, forbid_unknown_fields=True):
    """How a project wants to be judged; what is left out is as it is where nobody has chosen."""

    sensitivity: Sensitivity = "normal"
    off: Annotated[list[Kind], msgspec.Meta(max_length=MOST_GLOBS)] = []
    ignore: Annotated[list[Glob], msgspec.Meta(max_length=MOST_GLOBS)] = []

    def options(self) -> Options:
        """As the detectors take it; what is said twice counts once."""
        return Options(self.sensitivity, frozenset(self.off), tuple(dict.fromkeys(self.ignore)))


class DetectionRead(BaseModel):
    """How a project is judged."""

    project: str
    sensitivity: Sensitivity
    off: list[Kind] = Field(description="kinds that are neither recorded nor paged")
    ignore: list[str] = Field(description="globs; layers whose own or module's name matches one are left out")


def checked(options: Options) -> Options:
    """The options, if they are within the bounds of a request; else MalformedError."""
    choice = {"sensitivity": options.sensitivity, "off": list(options.off), "ignore": list(options.ignore)}
    try:
        return msgspec.convert(choice, DetectionChoice).options()
    except msgspec.ValidationError as error:
        raise MalformedError(field_and_reason(error)) from error
