"""Fold the tensors of a layout into groups by module, and find the tensors of a group again.

A module's own parameters are judged together, since one of them alone proves little: the bias before a norm layer
gets no gradient in a healthy network. Norms here are 2-norms, so a group's norm is the root of the sum of its
tensors' squares.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors import Options

SMALL = 8
"""Tensors of a group up to which numpy's own order of adding is one after the other."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Groups:
    """The groups of one layout, in the order in which their first tensors stand in it."""

    def __init__(self, layer_names: Sequence[str], modules: Sequence[str], trainable: Sequence[bool]) -> None:
        """One entry a tensor in each argument, in the order of the layout."""
        self.layer_names = tuple(layer_names)
        self.names = tuple(dict.fromkeys(modules))
        number = {name: index for index, name in enumerate(self.names)}
        group_of = np.array([number[module] for module in modules], np.int64)
        self._order = np.argsort(group_of, kind="stable")
        self._starts = np.searchsorted(group_of[self._order], np.arange(len(self.names)))
        self._members = np.split(self._order, self._starts[1:]) if self.names else []
        sizes = np.array([len(members) for members in self._members], np.int64)
        self._each_alone = bool((sizes == 1).all())
        self._in_order = bool((self._order == np.arange(len(self._order))).all())
        self._small = int(sizes.max(initial=0)) <= SMALL
        self._followers = [  # the groups that have a k-th tensor, and where it stands
            (np.flatnonzero(sizes > k), self._starts[sizes > k] + k) for k in range(1, int(sizes.max(initial=0)))
        ]
        mask = np.array(trainable, np.bool_)
        # A group is frozen only when none of its tensors is trained.
        self.trainable = np.array([bool(mask[members].any()) for members in self._members], np.bool_)
        self._modules = tuple(modules)
        self._ignored = np.zeros(len(self.layer_names), np.bool_)
        self.ignored = np.zeros(len(self.names), np.bool_)

    def __len__(self) -> int:
        return len(self.names)

    def ignore(self, options: Options) -> None:
        """Leave out the tensors that a project ignores by their own or their module's name; a group is ignored when all
        of its tensors are."""
        pairs = zip(self.layer_names, self._modules, strict=True) if options.ignore else ()
        self._ignored = np.zeros(len(self.layer_names), np.bool_)
        self._ignored[[place for place, pair in enumerate(pairs) if options.ignores(*pair)]] = True
        self.ignored = np.array([bool(self._ignored[members].all()) for members in self._members], np.bool_)

    def heeded(self, layer_norms: NDArray[np.float32]) -> NDArray[np.float32]:
        """The norms [..., L] without what the ignored tensors have, so that none of them stands out."""
        return np.where(self._ignored, np.float32(0.0), layer_norms) if self._ignored.any() else layer_norms

    def norms(self, layer_norms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Norms [n, G] of the groups from norms [n, L] of the tensors.

        A non-finite tensor makes its group non-finite. A finite group norm beyond float32 becomes its maximum, as on
        the wire. Each row depends on itself alone, bit for bit, however many rows come together.
        """
        if not len(self) or not len(layer_norms):
            return np.zeros((len(layer_norms), len(self)), np.float32)
        ordered = layer_norms if self._in_order else layer_norms[:, self._order]
        if self._each_alone:
            return np.abs(ordered)  # what the root of the square gives
        norms = np.sqrt(self._sums(np.square(ordered, dtype=np.float64)))
        beyond = norms > _FLOAT32_MAX
        if beyond.any():
            norms[beyond & (norms < np.inf)] = _FLOAT32_MAX
        return norms.astype(np.float32, order="C")

    def _sums(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over each group's columns; for small groups tensor by tensor, in the order in which reduceat adds."""
        if not self._small:
            return np.add.reduceat(squares, self._starts, axis=1)
        by_tensor = np.ascontiguousarray(squares.T)
        rest = np.zeros((len(self), len(squares)))
        for groups, tensors in self._followers:
            rest[groups] += by_tensor[tensors]
        return (by_tensor[self._starts] + rest).T

    def tensors_of(self, groups: Iterable[int], layer_norms: NDArray[np.float32] | None = None) -> list[str]:
        """Names of the tensors in these groups, groups in the given order.

        With the norms [L] of one frame, only the one tensor of each group that stands out: the first that is not
        finite, else the largest.
        """
        if layer_norms is None:
            named = (index for group in groups for index in self._members[group])
            return [self.layer_names[index] for index in named if not self._ignored[index]]
        rank = np.where(np.isfinite(layer_norms), layer_norms, np.float32(np.inf))
        chosen = [self._members[group][int(np.argmax(rank[self._members[group]]))] for group in groups]
        return [self.layer_names[index] for index in chosen]
