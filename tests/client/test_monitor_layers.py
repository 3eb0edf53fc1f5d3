"""Whatever becomes of the layers while a training runs, all are clipped, and the frame says which there were."""

from __future__ import annotations

import math

import pytest
import torch
from client.looping import Loop, ThreeAndFour, fused_sgd, layer_names, sgd
from torch import nn

from gradvitals.cpu_norms import PLAIN
from gradvitals.monitor import LOOK_EVERY, Monitor


class TestChangingParameters:
    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_an_added_group_is_clipped_and_measured_under_a_new_layout(self, make):
        loop = Loop(lambda parameters: make([next(parameters)]), max_norm=1.0)
        loop.step()
        loop.optimizer.add_param_group({"params": [loop.model.second.weight]})
        loop.step()
        first, second = loop.frames
        assert (first.layer_norms.tolist(), second.layer_norms.tolist()) == ([3.0], [3.0, 4.0])
        assert second.layout.layout_id != first.layout.layout_id
        assert second.layout.layers[1].parameter_group == 1
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    def test_a_replaced_parameter_is_another_layer(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.model.second = nn.Linear(2, 1, bias=False)
        loop.optimizer.param_groups[0]["params"][1] = loop.model.second.weight
        loop.step()
        assert [layer.numel for layer in loop.frame.layout.layers] == [1, 2]
        assert loop.frame.layer_norms.tolist() == pytest.approx([3.0, 4 * 2**0.5])

    @pytest.mark.parametrize("numel", [PLAIN + 5, 3 * PLAIN])
    def test_a_layer_that_is_given_another_size_is_measured_right_at_once(self, numel):
        loop = Loop(max_norm=1.0, model=nn.ParameterList(torch.zeros(2 * PLAIN) for _ in range(3)))
        for step in range(LOOK_EVERY + 1):
            if step == 1:
                loop.model[0].data = torch.zeros(numel)
            for parameter in loop.model:
                parameter.grad = torch.ones_like(parameter)
            loop.optimizer.step()
            expected = [parameter.numel() ** 0.5 for parameter in loop.model]
            assert loop.frame.layer_norms.tolist() == pytest.approx(expected, rel=1e-6)
        assert loop.frame.layout.layers[0].numel == numel
        assert loop.told_of == []

    def test_gradients_of_a_wider_dtype_than_their_weights_are_measured_as_they_are(self):
        loop = Loop(max_norm=1e9, model=nn.ParameterList(torch.zeros(64, dtype=torch.bfloat16) for _ in range(9)))
        for parameter in loop.model:
            parameter.grad_dtype = torch.float32
            parameter.grad = torch.full((64,), 1.001)  # 1.0 in bfloat16
        loop.monitor.close()
        loop.monitor = Monitor(loop.model, loop.optimizer, sink=loop.sink)
        loop.optimizer.step()
        assert loop.frame.layer_norms.tolist() == pytest.approx([8.008] * 9, rel=1e-6)

    def test_a_frozen_layer_makes_a_new_layout_as_soon_as_it_gets_no_gradient(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.model.first.weight.requires_grad_(False)
        loop.step(None, 4.0)
        assert [layer.trainable for layer in loop.frame.layout.layers] == [False, True]
        assert loop.frame.layer_norms.tolist() == [0.0, 4.0]
        loop.model.first.weight.requires_grad_(True)
        loop.step()
        assert [layer.trainable for layer in loop.frame.layout.layers] == [True, True]
        assert loop.frame.layout == loop.frames[0].layout

    def test_what_seldom_changes_is_looked_at_every_64_steps(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.model.first.weight.requires_grad_(False)  # and its gradient stays
        for _ in range(LOOK_EVERY):
            loop.step()
        trainable = [frame.layout.layers[0].trainable for frame in loop.frames]
        assert trainable == [True] * LOOK_EVERY + [False]

    @pytest.mark.parametrize("convert", [nn.Module.double, nn.Module.bfloat16])
    def test_a_converted_model_is_clipped_at_once_and_has_a_new_layout_within_64_steps(self, convert):
        loop = Loop(max_norm=1.0)
        loop.step()
        convert(loop.model)
        for _ in range(LOOK_EVERY):
            loop.step()
            assert loop.frame.global_norm == 5.0
            assert loop.model.gradients() == pytest.approx([0.6, 0.8], rel=1e-2)
        dtype = str(loop.model.first.weight.dtype).removeprefix("torch.")
        assert [layer.dtype for layer in loop.frame.layout.layers] == [dtype, dtype]

    @pytest.mark.parametrize("convert", [nn.Module.double, nn.Module.bfloat16])
    def test_so_has_one_of_many_equal_layers(self, convert):
        loop = Loop(model=nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(25)]), max_norm=1.0)
        for _ in range(2):
            for layer in loop.model:
                layer.weight.grad = torch.full_like(layer.weight, 3.0)
            loop.optimizer.step()
            assert loop.frame.layer_norms.tolist() == [6.0] * 25
            assert loop.frame.global_norm == 30.0
            assert loop.model[24].weight.grad[0, 0].item() == pytest.approx(0.1, rel=1e-2)
            convert(loop.model)

    def test_one_that_is_converted_in_part_is_clipped_at_once_too(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.model.first.double()
        loop.step(3.0, 4.0)
        assert loop.frame.global_norm == pytest.approx(5.0)
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])


class TestMissingGradients:
    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_without_any_the_norm_is_zero_and_nothing_happens(self, make):
        loop = Loop(make, max_norm=1.0)
        loop.step(None, None)
        assert (loop.frame.global_norm, loop.frame.clip_coefficient, loop.frame.flags) == (0.0, 1.0, 0)
        assert loop.frame.layer_norms.tolist() == [0.0, 0.0]
        assert loop.model.weights() == [1.0, 2.0]

    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_experts_that_take_turns_keep_their_places(self, make):
        loop = Loop(make, max_norm=1.0)
        for first, second in ((3.0, None), (None, 4.0), (3.0, None)):
            loop.step(first, second)
        assert [frame.layer_norms.tolist() for frame in loop.frames] == [[3.0, 0.0], [0.0, 4.0], [3.0, 0.0]]
        assert len({frame.layout.layout_id for frame in loop.frames}) == 1

    def test_experts_of_one_shape_and_many_keep_their_places(self):
        model = nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(20)])
        loop = Loop(model=model)
        for start in (0, 1):
            for place, layer in enumerate(model):
                layer.weight.grad = torch.full((2, 2), float(place)) if place % 2 == start else None
            loop.optimizer.step()
            expected = [2.0 * place if place % 2 == start else 0.0 for place in range(20)]
            assert loop.frame.layer_norms.tolist() == expected

    def test_a_bad_one_is_counted_at_its_place(self):
        loop = Loop()
        loop.step(None, math.nan)
        assert loop.frame.non_finite == [(1, 1, 0)]


class TestTiedWeights:
    def test_are_one_layer_that_counts_and_is_clipped_once(self):
        model = ThreeAndFour()
        model.second.weight = model.first.weight
        loop = Loop(model=model, max_norm=1.0)
        model.first.weight.grad = torch.full((1, 1), 4.0)
        loop.optimizer.step()
        assert layer_names(loop.frame) == ["first.weight"]
        assert loop.frame.global_norm == 4.0
        assert model.first.weight.grad.item() == pytest.approx(1.0)


class TestSparseGradients:
    """Of three equal tokens the gradients are added up: (3, 1) at two of an embedding's rows."""

    @pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
    @pytest.mark.parametrize("rows", [5, PLAIN + 1])
    @pytest.mark.parametrize("copies", [1, 10])
    def test_are_measured_and_clipped_as_what_they_add_up_to(self, copies, rows, norm_type):
        model = nn.ModuleList([nn.Embedding(rows, 1, sparse=True) for _ in range(copies)])
        loop = Loop(model=model, max_norm=1.0, norm_type=norm_type)
        expected = torch.linalg.vector_norm(torch.tensor([3.0, 1.0]), norm_type).item()
        for _ in range(2):
            loop.optimizer.zero_grad()
            sum(layer(torch.tensor([1, 1, 1, 2])).sum() for layer in model).backward()
            loop.optimizer.step()
            assert loop.frame.layer_norms.tolist() == pytest.approx([expected] * copies)
            after = torch.cat([layer.weight.grad.to_dense() for layer in model])
            assert torch.linalg.vector_norm(after, norm_type).item() == pytest.approx(1.0, rel=1e-5)
        assert loop.told_of == []

    def test_among_others_are_measured_too(self):
        model = nn.ModuleDict({"embedding": nn.Embedding(5, 1, sparse=True), "head": nn.Linear(1, 1, bias=False)})
        loop = Loop(model=model, max_norm=1.0)
        model["embedding"](torch.tensor([1, 1, 1, 2])).sum().backward()
        model["head"].weight.grad = torch.full((1, 1), 4.0)
        loop.optimizer.step()
        assert loop.frame.layer_norms.tolist() == pytest.approx([10**0.5, 4.0])
        assert model["head"].weight.grad.item() == pytest.approx(4 / 26**0.5)

    def test_are_limited_element_by_element(self):
        model = nn.ModuleList([nn.Embedding(5, 1, sparse=True)])
        loop = Loop(model=model, clip_value=2.0)
        model[0](torch.tensor([1, 1, 1, 2])).sum().backward()
        loop.optimizer.step()
        assert model[0].weight.grad.to_dense().flatten().tolist() == [0.0, 2.0, 1.0, 0.0, 0.0]
        assert loop.frame.clip_coefficient == pytest.approx((5 / 10) ** 0.5)

    @pytest.mark.parametrize("policy", ["keep", "skip"])
    def test_that_are_not_finite_are_counted_and_dealt_with(self, policy):
        model = nn.ModuleList([nn.Embedding(5, 1, sparse=True)])
        loop = Loop(model=model, max_norm=1.0, on_non_finite=policy)
        before = model[0].weight.detach().clone()
        (model[0](torch.tensor([1, 2])) * torch.tensor([[math.inf], [1.0]])).sum().backward()
        loop.optimizer.step()
        assert loop.frame.non_finite == [(0, 0, 1)]
        assert torch.equal(model[0].weight, before) == (policy == "skip")


class TestShapes:
    def test_of_no_dimension_no_element_and_any_order_in_memory(self):
        model = nn.Module()
        model.scale = nn.Parameter(torch.tensor(1.0))
        model.nothing = nn.Parameter(torch.zeros(0, 3))
        model.image = nn.Parameter(torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last))
        loop = Loop(model=model, max_norm=1.0)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 2.0)
        loop.optimizer.step()
        assert loop.frame.layer_norms.tolist() == pytest.approx([2.0, 0.0, 2 * 96**0.5])
        assert loop.frame.global_norm == pytest.approx(2 * 97**0.5)
        assert model.scale.grad.item() == pytest.approx(1 / 97**0.5)

    def test_complex_ones_have_the_norm_of_their_absolute_values(self):
        model = nn.Module()
        model.wave = nn.Parameter(torch.zeros(1, dtype=torch.complex64))
        loop = Loop(model=model, max_norm=1.0)
        model.wave.grad = torch.tensor([3 + 4j])
        loop.optimizer.step()
        assert loop.frame.global_norm == 5.0
        assert model.wave.grad.item() == pytest.approx(0.6 + 0.8j)

    @pytest.mark.parametrize(("elements", "copies"), [(1, 1), (1, 20), (PLAIN + 1, 1)])
    def test_gradients_that_are_part_of_a_graph_are_clipped_like_others(self, elements, copies):
        # As a gradient penalty makes them, with create_graph.
        model = nn.ParameterList([nn.Parameter(torch.full((elements,), 3.0)) for _ in range(copies)])
        loop = Loop(model=model, max_norm=1.0)
        loss = sum(weight.square().sum() / 2 for weight in model)
        for weight, gradient in zip(model, torch.autograd.grad(loss, list(model), create_graph=True), strict=True):
            weight.grad = gradient
        assert model[0].grad.requires_grad
        loop.optimizer.step()
        assert loop.frame.layer_norms.tolist() == pytest.approx([3 * elements**0.5] * copies)
        assert model[0].grad[0].item() == pytest.approx(1 / (elements * copies) ** 0.5)
        assert loop.told_of == []

    def test_several_dtypes_in_one_optimizer(self):
        model = ThreeAndFour()
        model.second.double()
        loop = Loop(model=model, max_norm=1.0)
        loop.step()
        assert loop.frame.global_norm == 5.0
        assert model.gradients() == pytest.approx([0.6, 0.8])


class TestGroups:
    def test_are_measured_together_and_clipped_like_everything(self):
        model = nn.ModuleDict({"body": ThreeAndFour(), "head": nn.Linear(1, 1, bias=False)})
        loop = Loop(model=model, max_norm=1.0, group_by="body")
        model["body"].set_gradients()
        model["head"].weight.grad = torch.full((1, 1), 12.0)
        loop.optimizer.step()
        assert layer_names(loop.frame) == ["body", "head.weight"]
        assert loop.frame.layer_norms.tolist() == [5.0, 12.0]
        assert loop.frame.global_norm == 13.0
        assert model["body"].gradients() == pytest.approx([3 / 13, 4 / 13])
        assert loop.monitor.last["layer_norms"] == {"body": 5.0, "head.weight": 12.0}

    @pytest.mark.parametrize(("norm_type", "expected"), [(1, 7.0), (math.inf, 4.0)])
    def test_have_the_norm_of_the_type_that_was_asked_for(self, norm_type, expected):
        loop = Loop(group_by=["first", "second"], norm_type=norm_type)
        together = Loop(model=nn.ModuleDict({"body": ThreeAndFour()}), group_by="body", norm_type=norm_type)
        loop.step()
        together.model["body"].set_gradients()
        together.optimizer.step()
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]
        assert together.frame.layer_norms.tolist() == [expected]

    def test_have_the_weights_norms_as_well(self):
        loop = Loop(model=nn.ModuleDict({"body": ThreeAndFour()}), group_by="body")
        loop.model["body"].set_gradients()
        loop.optimizer.step()
        assert loop.frame.param_norms.tolist() == pytest.approx([5**0.5])  # of 1 and 2
