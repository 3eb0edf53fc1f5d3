"""Layers are the optimizer's parameters, in the model's order and under the names that people know."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradvitals.errors import ConfigurationError
from gradvitals.frames import Layer
from gradvitals.layers import Selection, WatchedParameters, module_name, require_watchable


def sgd(parameters) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1)


def watched(model: nn.Module, optimizer: torch.optim.Optimizer, include=None, exclude=None) -> WatchedParameters:
    return WatchedParameters(model, optimizer, Selection.of(include, exclude))


def names(layers: WatchedParameters) -> list[str]:
    return [layer.name for layer in layers.layout.layers]


@pytest.mark.parametrize(
    ("parameter", "module"),
    [
        ("encoder.0.weight", "encoder.0"),
        ("weight", "weight"),
        ("gru.weight_ih_l0", "gru.ih_l0"),
        ("gru.bias_hh_l1_reverse", "gru.hh_l1_reverse"),
        ("lstm.weight_hr_l0", "lstm.hr_l0"),
        ("cell.weight_hh", "cell.hh"),
        ("weight_ih_l0", "ih_l0"),
        ("block.weight_ihx", "block"),
    ],
)
def test_the_module_is_what_a_person_calls_the_layer(parameter, module):
    assert module_name(parameter) == module


def test_a_name_that_the_wire_cannot_spell_is_changed_where_it_must():
    model = nn.ModuleDict({"a\0b\udc80": nn.Linear(1, 1, bias=False)})
    (layer,) = watched(model, sgd(model.parameters())).layout.layers
    assert (layer.name, layer.module) == ("a\ufffdb?.weight", "a\ufffdb?")


def test_every_parameter_of_a_recurrent_model_is_its_input_or_its_recurrent_half():
    gru = nn.GRU(2, 3, num_layers=2, bidirectional=True)
    modules = {layer.module for layer in watched(gru, sgd(gru.parameters())).layout.layers}
    assert modules == {f"{half}_l{level}{way}" for half in ("ih", "hh") for level in (0, 1) for way in ("", "_reverse")}


def test_a_layer_says_its_shape_dtype_group_and_whether_it_is_trained():
    model = nn.Linear(2, 3, dtype=torch.float64)
    model.bias.requires_grad_(False)
    optimizer = sgd([{"params": [model.bias]}, {"params": [model.weight]}])
    assert watched(model, optimizer).layout.layers == (
        Layer("weight", "weight", (3, 2), 6, "float64", 1, True),
        Layer("bias", "bias", (3,), 3, "float64", 0, False),
    )


def test_only_the_parameters_of_the_optimizer_are_watched():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    assert names(watched(model, sgd(model[1].parameters()))) == ["1.weight", "1.bias"]


def test_a_tied_weight_is_one_layer():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert names(watched(model, sgd(model.parameters()))) == ["0.weight"]


def test_a_parameter_that_the_model_does_not_have_comes_last_under_a_name_of_its_own():
    model = nn.Linear(1, 1, bias=False)
    temperature = nn.Parameter(torch.ones(1))
    optimizer = sgd([{"params": [temperature]}, {"params": model.parameters()}])
    assert names(watched(model, optimizer)) == ["weight", "param_groups.0.0"]


class TestSelection:
    model = nn.ModuleDict({"encoder": nn.Linear(1, 1), "head": nn.Linear(1, 1)})

    @pytest.mark.parametrize(
        ("include", "exclude", "expected"),
        [
            (None, None, ["encoder.weight", "encoder.bias", "head.weight", "head.bias"]),
            ("head.*", None, ["head.weight", "head.bias"]),
            (None, ["*.bias", "head*"], ["encoder.weight"]),
            (["*.weight"], "encoder.*", ["head.weight"]),
            ([], None, []),
        ],
    )
    def test_globs_choose_what_is_measured_and_never_what_is_clipped(self, include, exclude, expected):
        layers = watched(self.model, sgd(self.model.parameters()), include, exclude)
        assert names(layers) == expected
        assert len(layers.parameters) == 4

    @pytest.mark.parametrize("wrong", [3, [1]])
    def test_what_is_no_glob_is_refused_by_the_name_of_the_argument(self, wrong):
        with pytest.raises(ConfigurationError, match="exclude must be a glob"):
            Selection.of(None, wrong)


class TestStillHold:
    def setup_method(self):
        self.model = nn.Linear(2, 2)
        self.optimizer = sgd([self.model.weight])
        self.watched = watched(self.model, self.optimizer)

    def test_true_as_long_as_nothing_changes(self):
        assert self.watched.still_hold(self.optimizer)

    def test_false_once_a_parameter_group_is_added(self):
        self.optimizer.add_param_group({"params": [self.model.bias]})
        assert not self.watched.still_hold(self.optimizer)

    def test_false_once_a_parameter_is_replaced(self):
        self.optimizer.param_groups[0]["params"][0] = nn.Parameter(torch.ones(2, 2))
        assert not self.watched.still_hold(self.optimizer)

    def test_false_once_a_group_is_taken_away(self):
        self.optimizer.add_param_group({"params": [self.model.bias]})
        both = watched(self.model, self.optimizer)
        del self.optimizer.param_groups[1]
        assert not both.still_hold(self.optimizer)


class TestAreAsTheyWere:
    def setup_method(self):
        self.model = nn.Linear(2, 2)
        self.watched = watched(self.model, sgd(self.model.parameters()))

    def test_true_as_long_as_only_values_change(self):
        with torch.no_grad():
            self.model.weight.fill_(1.0)
        assert self.watched.are_as_they_were()

    @pytest.mark.parametrize(
        "change", [lambda m: m.bias.requires_grad_(False), lambda m: m.double(), lambda m: m.half()]
    )
    def test_false_once_a_parameter_is_frozen_or_converted(self, change):
        change(self.model)
        assert not self.watched.are_as_they_were()


class TestGroupBy:
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 1), nn.Linear(1, 1)]), "head": nn.Linear(1, 1)})

    def grouped(self, group_by, exclude=None) -> WatchedParameters:
        return WatchedParameters(self.model, sgd(self.model.parameters()), Selection.of(None, exclude, group_by))

    def test_takes_together_what_shares_the_part_of_its_name_that_the_glob_matches(self):
        assert names(self.grouped("layers.*")) == ["layers.0", "layers.1", "head.weight", "head.bias"]

    @pytest.mark.parametrize(
        ("group_by", "expected"),
        [
            ("layers", ["layers", "head.weight", "head.bias"]),
            ("*", ["layers", "head"]),
            (["head", "*.0"], ["layers.0", "layers.1.weight", "layers.1.bias", "head"]),
            ("layers.*.*", ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "head.weight",
                            "head.bias"]),
            ("decoder", ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "head.weight",
                         "head.bias"]),
        ],
    )  # fmt: skip
    def test_a_glob_has_as_many_parts_as_it_has_dots(self, group_by, expected):
        assert names(self.grouped(group_by)) == expected

    def test_a_group_is_a_layer_of_all_its_elements_named_as_a_module(self):
        assert self.grouped("layers.*").layout.layers[0] == Layer("layers.0", "layers.0", (3,), 3, "float32", 0, True)

    def test_a_group_of_several_dtypes_says_so(self):
        model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).double())
        layers = WatchedParameters(model, sgd(model.parameters()), Selection.of(None, None, "*"))
        assert [layer.dtype for layer in layers.layout.layers] == ["float32", "float64"]
        together = WatchedParameters(
            nn.ModuleDict({"all": model}), sgd(model.parameters()), Selection.of(None, None, "all")
        )
        assert [layer.dtype for layer in together.layout.layers] == ["mixed"]

    def test_is_trained_as_long_as_one_member_is(self):
        model = nn.ModuleDict({"layer": nn.Linear(1, 1)})
        model["layer"].bias.requires_grad_(False)
        (layer,) = WatchedParameters(model, sgd(model.parameters()), Selection.of(None, None, "*")).layout.layers
        assert layer.trainable

    def test_what_is_excluded_is_in_no_group(self):
        layers = self.grouped("layers.*", exclude="*.bias")
        assert [(layer.name, layer.numel) for layer in layers.layout.layers] == [
            ("layers.0", 2), ("layers.1", 1), ("head.weight", 1)
        ]  # fmt: skip

    @pytest.mark.parametrize(("norm_type", "expected"), [(2.0, 5.0), (1.0, 7.0), (math.inf, 4.0)])
    def test_the_norm_of_a_group_is_that_of_its_members_as_one_vector(self, norm_type, expected):
        norms = self.grouped("layers.*").spread([3.0, 4.0, 0.5, 0.0, 2.0, 1.0], None, norm_type)
        assert norms == [expected, 0.5, 2.0, 1.0]

    def test_a_member_without_gradient_counts_as_zero(self):
        norms = self.grouped("layers.*").spread([3.0, 2.0], [0, 4], 2.0)
        assert norms == [3.0, 0.0, 2.0, 0.0]

    def test_one_bad_member_makes_the_group_bad(self):
        norms = self.grouped("layers.*").spread([3.0, math.nan, math.inf, 0.0, 2.0, 1.0], None, 2.0)
        assert math.isnan(norms[0])
        assert norms[1:] == [math.inf, 2.0, 1.0]

    def test_what_is_no_glob_is_refused_by_the_name_of_the_argument(self):
        with pytest.raises(ConfigurationError, match="group_by must be a glob"):
            Selection.of(None, None, 3)


class TestRequireWatchable:
    def test_a_model_without_parameters_is_refused(self):
        with pytest.raises(ConfigurationError, match="model has no parameters"):
            require_watchable(nn.ReLU(), sgd(nn.Linear(1, 1).parameters()))

    def test_the_optimizer_of_another_model_is_refused(self):
        with pytest.raises(ConfigurationError, match="optimizer has no parameter of model"):
            require_watchable(nn.Linear(1, 1), sgd(nn.Linear(1, 1).parameters()))

    @pytest.mark.filterwarnings("ignore:Lazy modules")
    def test_a_parameter_without_a_shape_is_refused_with_the_cure(self):
        model = nn.LazyLinear(1)
        with pytest.raises(ConfigurationError, match="run one forward pass first"):
            require_watchable(model, sgd(model.parameters()))

    def test_swapped_arguments_are_refused(self):
        model = nn.Linear(1, 1)
        with pytest.raises(ConfigurationError, match=r"model must be a torch\.nn\.Module, not SGD"):
            require_watchable(sgd(model.parameters()), model)

    def test_what_is_no_optimizer_is_refused(self):
        with pytest.raises(ConfigurationError, match=r"optimizer must be a torch\.optim\.Optimizer, not list"):
            require_watchable(nn.Linear(1, 1), [])
