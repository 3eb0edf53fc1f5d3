"""A fused optimizer divides and skips as it was told, and everything is as before once that is taken back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gradvitals.fused_step import FusedStep

FUSED = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "Adam": lambda parameters: torch.optim.Adam(parameters, weight_decay=0.1, fused=True),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, weight_decay=0.1, fused=True),
    "Adagrad": lambda parameters: torch.optim.Adagrad(parameters, weight_decay=0.1, fused=True),
}


class StepsItself(torch.optim.SGD):
    """Looks at the gradients before torch's step does."""

    def step(self, closure=None):
        return super().step(closure)


def weight_with_gradient(*values: float) -> nn.Parameter:
    weight = nn.Parameter(torch.ones(len(values)))
    weight.grad = torch.tensor(values)
    return weight


def sgd(weight: nn.Parameter, **options: object) -> torch.optim.SGD:
    return torch.optim.SGD([weight], **{"lr": 1.0, "fused": True, **options})


@pytest.fixture
def filled_with_nan():
    """Memory that torch allocates and does not write to reads as NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def everything(optimizer: torch.optim.Optimizer) -> object:
    """Weights and state, in a form that == compares bit for bit."""
    weights = [parameter.tolist() for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()["state"]
    return weights, {key: {name: torch.as_tensor(v).tolist() for name, v in s.items()} for key, s in state.items()}


class TestOf:
    @pytest.mark.parametrize("make", FUSED.values(), ids=FUSED)
    def test_a_fused_optimizer_can_be_told(self, make):
        assert FusedStep.of(make([weight_with_gradient(1.0)])) is not None

    @pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {}])
    def test_another_one_cannot(self, options):
        assert FusedStep.of(torch.optim.SGD([weight_with_gradient(1.0)], **options)) is None
        assert FusedStep.of(torch.optim.RMSprop([weight_with_gradient(1.0)], **options)) is None

    def test_nor_one_with_a_group_that_is_not_fused(self):
        groups = [{"params": [weight_with_gradient(1.0)]}, {"params": [weight_with_gradient(1.0)], "fused": False}]
        assert FusedStep.of(torch.optim.Adam(groups, fused=True)) is None

    def test_nor_one_whose_own_step_may_look_at_gradients_that_are_not_divided_yet(self):
        assert FusedStep.of(StepsItself([weight_with_gradient(1.0)], fused=True)) is None


class TestDividing:
    def test_the_step_uses_the_divided_gradient_and_leaves_it_behind(self):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight)
        FusedStep.of(optimizer).tell(divisor=torch.tensor(4.0))
        optimizer.step()
        assert weight.item() == -1.0  # 1 - 8 / 4
        assert weight.grad.item() == 2.0

    def test_a_loss_scale_that_is_there_is_divided_by_as_well(self):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight)
        optimizer.grad_scale = torch.tensor(2.0)
        FusedStep.of(optimizer).tell(divisor=torch.tensor(4.0))
        optimizer.step()
        assert weight.item() == 0.0  # 1 - 8 / 2 / 4

    def test_a_gradient_scaler_leaves_none_where_the_user_has_unscaled(self):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight)
        optimizer.grad_scale = None
        FusedStep.of(optimizer).tell(divisor=torch.tensor(4.0))
        optimizer.step()
        assert weight.item() == -1.0

    @pytest.mark.parametrize("scale", [None, 2.0])
    def test_a_divisor_in_double_precision_becomes_what_the_kernel_takes(self, scale):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight)
        if scale is not None:
            optimizer.grad_scale = torch.tensor(scale)
        FusedStep.of(optimizer).tell(divisor=torch.tensor(4.0, dtype=torch.float64))
        optimizer.step()
        assert weight.grad.item() == 8.0 / 4.0 / (scale or 1.0)

    @pytest.mark.parametrize("make", FUSED.values(), ids=FUSED)
    def test_agrees_with_torchs_clip(self, make):
        gradients = torch.randn(10, 300, generator=torch.Generator().manual_seed(0))
        ours, theirs = nn.Parameter(torch.ones(300)), nn.Parameter(torch.ones(300))
        our_optimizer, their_optimizer = make([ours]), make([theirs])
        fused = FusedStep.of(our_optimizer)
        for gradient in gradients:
            ours.grad, theirs.grad = gradient.clone(), gradient.clone()
            fused.tell(divisor=((gradient.norm() + 1e-6) / 0.5).clamp(min=1.0))
            our_optimizer.step()
            fused.take_back()
            torch.nn.utils.clip_grad_norm_([theirs], 0.5)
            their_optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_an_unhealthy_norm_does_what_it_does_in_torch(self, bad):
        ours, theirs = weight_with_gradient(bad, 1.0), weight_with_gradient(bad, 1.0)
        optimizer = sgd(ours)
        FusedStep.of(optimizer).tell(divisor=((ours.grad.norm() + 1e-6) / 0.5).clamp(min=1.0))
        optimizer.step()
        torch.nn.utils.clip_grad_norm_([theirs], 0.5)
        torch.testing.assert_close(ours.grad, theirs.grad, equal_nan=True)

    def test_once_a_group_is_fused_no_longer_nothing_is_told(self):
        optimizer = sgd(weight_with_gradient(8.0))
        fused = FusedStep.of(optimizer)
        optimizer.load_state_dict(torch.optim.SGD([weight_with_gradient(1.0)], lr=1.0).state_dict())
        assert not fused.tell(divisor=torch.tensor(4.0), skip=True)
        optimizer.step()  # torch would refuse to, had it been told


class TestSkipping:
    @pytest.mark.parametrize("make", FUSED.values(), ids=FUSED)
    def test_changes_no_bit_and_needs_no_loss_scale(self, make):
        weight = weight_with_gradient(3.0, 4.0)
        optimizer = make([weight])
        optimizer.step()
        before = everything(optimizer)
        weight.grad = torch.tensor([float("nan"), 1.0])
        FusedStep.of(optimizer).tell(skip=True)
        optimizer.step()
        assert everything(optimizer) == before

    @pytest.mark.parametrize("make", FUSED.values(), ids=FUSED)
    def test_the_step_after_is_as_if_there_had_been_no_skip(self, make):
        weight = weight_with_gradient(3.0, 4.0)
        optimizer = make([weight])
        optimizer.step()
        twin = copy.deepcopy(weight)
        spared = make([twin])
        spared.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        fused = FusedStep.of(optimizer)
        fused.tell(skip=True)
        optimizer.step()
        fused.take_back()
        weight.grad, twin.grad = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])
        optimizer.step()
        spared.step()
        assert everything(optimizer) == everything(spared)

    @pytest.mark.parametrize(("scalers", "skip"), [(1.0, False), (0.0, True), (1.0, True)])
    def test_a_skip_is_joined_with_that_of_a_gradient_scaler(self, scalers, skip):
        optimizer = sgd(weight_with_gradient(8.0))
        optimizer.found_inf = torch.tensor(scalers)
        FusedStep.of(optimizer).tell(skip=torch.tensor(skip))
        optimizer.step()
        assert everything(optimizer)[0] == [[1.0]]

    def test_two_devices_that_overflowed_are_one_skip(self):
        optimizer = sgd(weight_with_gradient(8.0))
        optimizer.found_inf = torch.tensor(2.0)  # a GradScaler adds them up; the kernel would step
        FusedStep.of(optimizer).tell(skip=torch.tensor(False))
        assert optimizer.found_inf.item() == 1.0

    def test_a_decision_made_on_the_device_may_be_to_step(self):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight)
        FusedStep.of(optimizer).tell(skip=torch.tensor(False))
        optimizer.step()
        assert weight.item() == -7.0


class TestSkipsCleanly:
    def test_not_before_fused_sgd_has_momentum_since_torch_would_keep_memory_that_nobody_wrote(self):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight, momentum=0.9)
        fused = FusedStep.of(optimizer)
        assert not fused.skips_cleanly()
        optimizer.step()
        assert fused.skips_cleanly()
        optimizer.add_param_group({"params": [weight_with_gradient(1.0)]})
        assert not fused.skips_cleanly()

    def test_always_without_momentum(self):
        assert FusedStep.of(sgd(weight_with_gradient(8.0))).skips_cleanly()

    @pytest.mark.parametrize("make", [FUSED["Adam"], FUSED["AdamW"], FUSED["Adagrad"]])
    def test_and_always_where_state_begins_at_zero(self, make):
        assert FusedStep.of(make([weight_with_gradient(8.0)])).skips_cleanly()

    def test_torch_keeps_memory_that_nobody_wrote(self, filled_with_nan):
        """Should this fail, then torch has mended it, and ``skips_cleanly`` can go."""
        optimizer = sgd(weight_with_gradient(8.0), momentum=0.9)
        FusedStep.of(optimizer).tell(skip=True)
        optimizer.step()
        (state,) = optimizer.state.values()
        assert state["momentum_buffer"].isnan().all()


class TestTakingBack:
    @pytest.mark.parametrize("before", [{}, {"grad_scale": None, "found_inf": None}])
    def test_restores_what_was_there(self, before):
        optimizer = sgd(weight_with_gradient(8.0))
        for name, value in before.items():
            setattr(optimizer, name, value)
        attributes = dict(vars(optimizer))
        fused = FusedStep.of(optimizer)
        fused.tell(divisor=torch.tensor(4.0), skip=True)
        assert vars(optimizer) != attributes
        fused.take_back()
        fused.take_back()
        assert vars(optimizer) == attributes

    def test_restores_a_gradient_scalers_own_tensors(self):
        optimizer = sgd(weight_with_gradient(8.0))
        scale, found_inf = torch.tensor(65536.0), torch.tensor(0.0)
        optimizer.grad_scale, optimizer.found_inf = scale, found_inf
        fused = FusedStep.of(optimizer)
        fused.tell(divisor=torch.tensor(4.0), skip=torch.tensor(True))
        fused.take_back()
        assert optimizer.grad_scale is scale
        assert optimizer.found_inf is found_inf
        assert (scale.item(), found_inf.item()) == (65536.0, 0.0)

    def test_of_two_evaluations_in_one_step_the_last_counts(self):
        optimizer = sgd(weight_with_gradient(8.0))
        optimizer.grad_scale = torch.tensor(2.0)
        fused = FusedStep.of(optimizer)
        fused.tell(divisor=torch.tensor(3.0), skip=True)
        fused.tell(divisor=torch.tensor(4.0))
        assert optimizer.grad_scale.item() == 8.0
        assert not hasattr(optimizer, "found_inf")
        fused.take_back()
        assert optimizer.grad_scale.item() == 2.0

    def test_after_a_step_that_raised_nothing_of_it_is_left_for_the_next(self):
        weight = weight_with_gradient(8.0)
        optimizer = sgd(weight)
        fused = FusedStep.of(optimizer)
        fused.tell(divisor=torch.tensor(4.0))
        with pytest.raises(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        fused.take_back()
        optimizer.step()
        assert weight.item() == -7.0

    def test_what_somebody_has_set_in_the_meantime_stays(self):
        optimizer = sgd(weight_with_gradient(8.0))
        fused = FusedStep.of(optimizer)
        fused.tell(divisor=torch.tensor(4.0), skip=True)
        theirs = torch.tensor(65536.0)
        optimizer.grad_scale = theirs
        del optimizer.found_inf
        fused.take_back()
        assert optimizer.grad_scale is theirs
        assert not hasattr(optimizer, "found_inf")
