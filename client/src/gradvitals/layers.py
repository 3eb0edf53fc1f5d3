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

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from gradvitals.cpu_norms import Plan, norm_of_norms
from gradvitals.distributed import is_sharded
from gradvitals.errors import ConfigurationError
from gradvitals.frames import Layer, Layout, wire_text

# A recurrent module's own parameters: its two matrices fail apart, so they are two modules to a person.
RECURRENT = re.compile(r"(?:weight|bias)_((?:ih|hh|hr)(?:_l\d+)?(?:_reverse)?)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over parameter names: which layers are measured, and which together. Clipping always takes all of them."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()

    @classmethod
    def of(cls, include: object | None, exclude: object | None, group_by: object | None = None) -> Selection:
        """From the arguments of ``watch``: one glob, several, or None."""
        return cls(
            ("*",) if include is None else _globs("include", include),
            () if exclude is None else _globs("exclude", exclude),
            () if group_by is None else _globs("group_by", group_by),
        )

    def matches(self, name: str) -> bool:
        """Whether the parameter of this name is measured."""
        return _matches(name, self.include) and not _matches(name, self.exclude)

    def group_of(self, name: str) -> str | None:
        """The group that a parameter is measured in: as much of its name as a glob of ``group_by`` matches.

        ``group_by="layers.*"`` puts ``layers.0.weight`` and ``layers.0.bias`` into ``layers.0``.
        """
        parts = name.split(".")
        for glob in self.group_by:
            beginning = ".".join(parts[: glob.count(".") + 1])
            if fnmatchcase(beginning, glob):
                return beginning
        return None


class WatchedParameters:
    """The parameters of one optimizer as they were when this was made, and the layout of the measured ones."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, selection: Selection) -> None:
        self._as_given = [list(group["params"]) for group in optimizer.param_groups]
        named = _named(model, optimizer)
        self.parameters: list[Tensor] = [parameter for _, parameter, _ in named]  # each once; all of them are clipped
        self._nature = self._natures()
        self.uniform = _are_uniform(self.parameters)  # what ``norms.uniform_norms`` asks for, if the gradients are too
        self.plan = Plan.of(self.parameters)
        self.sharded = any(map(is_sharded, self.parameters))
        self.on_cuda = any(parameter.device.type == "cuda" for parameter in self.parameters)
        self._measured: list[int] | None = None  # in ``parameters``, of those that are measured; None: all
        measured = [place for place, (name, _, _) in enumerate(named) if selection.matches(name)]
        if len(measured) < len(named):
            self._measured = measured
        members: dict[str, list[int]] = {}
        for place in measured:
            name = named[place][0]
            members.setdefault(selection.group_of(name) or name, []).append(place)
        self.layout = Layout(
            tuple(_layer(name, [named[place] for place in places]) for name, places in members.items())
        )
        self.layer_of = {place: layer for layer, places in enumerate(members.values()) for place in places}
        self.one_layer_each = len(members) == len(named)  # the layers are the parameters, in their order
        self._groups: list[int] | None = None  # of each measured parameter its layer; None: one each
        if len(members) < len(measured):
            self._groups = [self.layer_of[place] for place in measured]

    def still_hold(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer has the same parameters in the same groups."""
        groups = optimizer.param_groups
        if len(groups) != len(self._as_given):
            return False
        for group, known in zip(groups, self._as_given, strict=True):
            parameters = group["params"]
            if len(parameters) != len(known) or not all(map(is_, parameters, known)):
                return False
        return True

    def holds(self, parameter: Tensor) -> bool:
        """Whether this very tensor is one of the parameters."""
        return any(parameter is ours for ours in self.parameters)

    def are_as_they_were(self) -> bool:
        """Whether none was frozen, unfrozen, moved, or given another dtype or shape."""
        return self._natures() == self._nature

    def spread(self, norms: list[float], places: list[int] | None, norm_type: float) -> list[float]:
        """Norms of the parameters at ``places`` (None: of all), as those of the layers in the layout, [L]."""
        if places is not None:
            present, norms = norms, [0.0] * len(self.parameters)
            for place, norm in zip(places, present, strict=True):
                norms[place] = norm
        if self._measured is not None:
            norms = [norms[place] for place in self._measured]
        if self._groups is None:
            return norms
        members: list[list[float]] = [[] for _ in self.layout.layers]
        for layer, norm in zip(self._groups, norms, strict=True):
            members[layer].append(norm)
        return [norm_of_norms(group, norm_type) for group in members]

    def _natures(self) -> list[tuple[bool, torch.dtype, torch.device, torch.Size]]:
        return [
            (parameter.requires_grad, parameter.dtype, parameter.device, parameter.shape)
            for parameter in self.parameters
        ]


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


def _layer(name: str, members: list[tuple[str, Tensor, int]]) -> Layer:
    """The layer of one parameter, or of several that are measured together."""
    first_name, first, parameter_group = members[0]
    numel = sum(parameter.numel() for _, parameter, _ in members)
    alone = name == first_name
    dtypes = {str(parameter.dtype).removeprefix("torch.") for _, parameter, _ in members}
    name = wire_text(name)  # a ModuleDict's keys are anybody's
    return Layer(
        name=name,
        module=module_name(name) if alone else name,
        shape=tuple(first.shape) if alone else (numel,),
        numel=numel,
        dtype=dtypes.pop() if len(dtypes) == 1 else "mixed",
        parameter_group=parameter_group,
        trainable=any(parameter.requires_grad for _, parameter, _ in members),
    )


def _are_uniform(parameters: Sequence[Tensor]) -> bool:
    """Whether all are real, strided, non-empty and on the CPU, of one dtype, and of torch's own classes."""
    first = parameters[0].dtype
    return all(
        type(parameter) in (nn.Parameter, Tensor)
        and parameter.dtype == first
        and parameter.is_cpu
        and parameter.layout is torch.strided
        and not parameter.is_complex()
        and parameter.numel() > 0
        # A gradient may have a dtype of its own, from torch 2.9 on.
        and getattr(parameter, "grad_dtype", first) is first
        for parameter in parameters
    )


def _parameters_of(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


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
