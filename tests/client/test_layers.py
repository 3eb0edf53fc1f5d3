"""Layers are the optimizer's parameters, in the model's order and under the names that people know."""

from __future__ import annotations

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

    def test_false_once_a_parameter_is_frozen(self):
        self.model.weight.requires_grad_(False)
        assert not self.watched.still_hold(self.optimizer)


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
