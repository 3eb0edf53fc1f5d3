"""Tensors are folded into groups by module; a group's norm is the root of the sum of squares."""

import math

import numpy as np

from gradvitals_service.health.detectors import Options
from gradvitals_service.health.groups import Groups

NAMES = ["conv.weight", "conv.bias", "head.weight", "conv.scale"]
MODULES = ["conv", "conv", "head", "conv"]


def groups(trainable=(True, True, True, True)):
    return Groups(NAMES, MODULES, trainable)


def test_groups_stand_in_the_order_of_their_first_tensor():
    assert groups().names == ("conv", "head")
    assert len(groups()) == 2


def test_a_groups_norm_is_the_root_of_the_sum_of_its_tensors_squares():
    norms = groups().norms(np.array([[2.0, 3.0, 5.0, 6.0], [0.0, 0.0, 1.0, 0.0]], np.float32))
    assert norms.tolist() == [[7.0, 5.0], [0.0, 1.0]]


def test_a_non_finite_tensor_makes_its_own_group_non_finite_and_no_other():
    norms = groups().norms(np.array([[1.0, math.inf, 5.0, 1.0], [1.0, 1.0, 5.0, math.nan]], np.float32))
    assert norms[0].tolist() == [math.inf, 5.0]
    assert math.isnan(norms[1, 0])
    assert norms[1, 1] == 5.0


def test_a_finite_norm_beyond_float32_becomes_its_maximum():
    largest = np.finfo(np.float32).max
    norms = groups().norms(np.full((1, 4), largest))
    assert norms.tolist() == [[largest, largest]]


def test_rows_do_not_depend_on_how_many_come_together():
    rows = np.random.default_rng(0).lognormal(size=(50, 300)).astype(np.float32)
    many = Groups([str(i) for i in range(300)], [str(i % 7) for i in range(300)], [True] * 300)
    alone = np.concatenate([many.norms(row[None]) for row in rows])
    assert many.norms(rows).tobytes() == alone.tobytes()


def test_no_frames_and_no_layers_are_fine():
    assert groups().norms(np.zeros((0, 4), np.float32)).shape == (0, 2)
    assert Groups([], [], []).norms(np.zeros((3, 0), np.float32)).shape == (3, 0)


def test_a_group_is_frozen_only_when_all_of_its_tensors_are():
    assert groups((False, True, False, False)).trainable.tolist() == [True, False]


def test_groups_are_named_by_their_tensors():
    assert groups().tensors_of([1, 0]) == ["head.weight", "conv.weight", "conv.bias", "conv.scale"]


def test_with_a_frame_the_tensor_that_stands_out_is_named():
    norms = np.array([2.0, 3.0, 5.0, 1.0], np.float32)
    assert groups().tensors_of([0, 1], norms) == ["conv.bias", "head.weight"]
    norms[3] = math.nan
    assert groups().tensors_of([0], norms) == ["conv.scale"]


class TestIgnoredTensors:
    def ignoring(self, *globs: str) -> Groups:
        ignoring = groups()
        ignoring.ignore(Options(ignore=globs))
        return ignoring

    def test_leave_out_a_group_only_when_all_of_it_matches(self):
        assert self.ignoring("conv.bias").ignored.tolist() == [False, False]
        assert self.ignoring("conv.*").ignored.tolist() == [True, False]
        assert self.ignoring("head").ignored.tolist() == [False, True]  # by its module's name
        assert groups().ignored.tolist() == [False, False]

    def test_are_not_named(self):
        ignoring = self.ignoring("conv.bias")
        assert ignoring.tensors_of([0]) == ["conv.weight", "conv.scale"]
        norms = np.array([2.0, 3.0, 5.0, 1.0], np.float32)
        assert ignoring.tensors_of([0], ignoring.heeded(norms)) == ["conv.weight"]
        norms[1] = math.nan
        assert ignoring.tensors_of([0], ignoring.heeded(norms)) == ["conv.weight"]

    def test_are_measured_all_the_same(self):
        norms = np.array([[2.0, 3.0, 5.0, 6.0]], np.float32)
        assert self.ignoring("conv.*").norms(norms).tolist() == [[7.0, 5.0]]
