"""Which parameters an optimizer steps, and what each is called.

The order is that of ``model.named_parameters()``; parameters of the optimizer that the model does not have come last,
under names of their own. Nothing here reads a value or a gradient.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import is_

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from gradvitals.errors import ConfigurationError
from gradvitals.frames import Layer, Layout, wire_text

# A recurrent module's own parameters: its two matrices fail apart, so they are two modules to a person.
RECURRENT = re.compile(r"(?:weight|bias)_((?:ih|hh|hr)(?:_l\d+)?(?:_reverse)?)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over parameter names: which layers are measured one by one. Clipping always takes all of them."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(cls, include: object | None, exclude: object | None) -> Selection:
        """From the arguments of ``watch``: one glob, several, or None."""
        return cls(
            ("*",) if include is None else _globs("include", include),
            () if exclude is None else _globs("exclude", exclude),
        )

    def matches(self, name: str) -> bool:
        """Whether the layer of this name is measured on its own."""
        return _matches(name, self.include) and not _matches(name, self.exclude)


class WatchedParameters:
    """The parameters of one optimizer as they were when this was made, and the layout of the measured ones."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, selection: Selection) -> None:
        self._as_given = _parameters_of(optimizer)
        self._trainable = [parameter.requires_grad for parameter in self._as_given]
        self._group_sizes = _group_sizes(optimizer)
        named = _named(model, optimizer)
        self.parameters: list[Tensor] = [parameter for _, parameter, _ in named]  # each once; all of them are clipped
        measured = [place for place, (name, _, _) in enumerate(named) if selection.matches(name)]
        self.measured = measured if len(measured) < len(named) else None  # places in ``parameters``; None: all
        self.layout = Layout(tuple(_layer(*named[place]) for place in measured))

    def still_hold(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer has the same parameters in the same groups, frozen or not as they were."""
        current = _parameters_of(optimizer)
        return (
            len(current) == len(self._as_given)
            and all(map(is_, current, self._as_given))
            and [parameter.requires_grad for parameter in current] == self._trainable
            and _group_sizes(optimizer) == self._group_sizes
        )


def module_name(parameter_name: str) -> str:
    """What a person calls a layer: its parameter's owner, recurrent ones in two; a bare parameter has its own name."""
    owner, _, name = parameter_name.rpartition(".")
    recurrent = RECURRENT.fullmatch(name)
    if recurrent:
        name = recurrent[1]
        return f"{owner}.{name}" if owner else name
    return owner or name


def _named(model: nn.Module, optimizer: Optimizer) -> list[tuple[str, Tensor, int]]:
    """(name, parameter, parameter group) of each parameter of the optimizer, tied ones once."""
    group_of: dict[int, int] = {}
    place_of: dict[int, int] = {}
    strangers: dict[int, Tensor] = {}
    for group, parameters in enumerate(group["params"] for group in optimizer.param_groups):
        for place, parameter in enumerate(parameters):
            group_of.setdefault(id(parameter), group)
            place_of.setdefault(id(parameter), place)
            strangers[id(parameter)] = parameter
    named: list[tuple[str, Tensor, int]] = []
    for name, parameter in model.named_parameters():
        if strangers.pop(id(parameter), None) is not None:
            named.append((name, parameter, group_of[id(parameter)]))
    taken = {name for name, _ in model.named_parameters()}
    for key, parameter in strangers.items():
        name = f"param_groups.{group_of[key]}.{place_of[key]}"
        while name in taken:
            name += "_"
        named.append((name, parameter, group_of[key]))
    return named


def require_watchable(model: nn.Module, optimizer: Optimizer) -> None:
    """Raise ConfigurationError where the two do not belong together, or a parameter has no shape yet."""
    if not isinstance(model, nn.Module):
        raise ConfigurationError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(optimizer, Optimizer):
        raise ConfigurationError(f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    of_model = dict(model.named_parameters())
    if not of_model:
        raise ConfigurationError("model has no parameters: there is nothing to watch")
    lazy = [name for name, parameter in of_model.items() if is_lazy(parameter)]
    if lazy:
        raise ConfigurationError(f"model has a parameter without a shape yet ({lazy[0]}): run one forward pass first")
    ids = {id(parameter) for parameter in of_model.values()}
    if not any(id(parameter) in ids for parameter in _parameters_of(optimizer)):
        raise ConfigurationError("optimizer has no parameter of model: it was made for another model, or before a move")


def _layer(name: str, parameter: Tensor, group: int) -> Layer:
    name = wire_text(name)  # a ModuleDict's keys are anybody's
    return Layer(
        name=name,
        module=module_name(name),
        shape=tuple(parameter.shape),
        numel=parameter.numel(),
        dtype=str(parameter.dtype).removeprefix("torch."),
        parameter_group=group,
        trainable=parameter.requires_grad,
    )


def _parameters_of(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _group_sizes(optimizer: Optimizer) -> list[int]:
    return [len(group["params"]) for group in optimizer.param_groups]


def _globs(argument: str, globs: object) -> tuple[str, ...]:
    if isinstance(globs, str):
        return (globs,)
    if isinstance(globs, Iterable):
        several = tuple(globs)
        if all(isinstance(glob, str) for glob in several):
            return several
    raise ConfigurationError(f"{argument} must be a glob over parameter names such as 'encoder.*', or a list of them")


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
