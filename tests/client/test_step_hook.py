"""The hook speaks once an optimizer's gradients are final, whoever calls the step and however."""

from __future__ import annotations

import copy
import functools
import pickle

import pytest
import torch
from torch import nn

from gradvitals.errors import NonFiniteGradientError
from gradvitals.step_hook import StepHook, with_hooks


def unexpected(fault: Exception) -> None:
    raise AssertionError from fault


def hook(
    optimizer, ready, stepped=lambda: None, rescue=unexpected, tell=unexpected, unsettled=lambda: True
) -> StepHook:
    """A hook whose faults fail the test, unless it is about them."""
    return StepHook(optimizer, ready, stepped, rescue, tell, unsettled)


def one_weight() -> nn.Parameter:
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    return weight


class StepsThroughSuper(torch.optim.SGD):
    """Steps as many wrappers do; torch hooks both its step and the one that it calls."""

    def step(self, closure=None):
        return super().step(closure)


class PicklesEverything(torch.optim.SGD):
    """Takes its hooks along when it is copied, as torch's own optimizers do not."""

    def __getstate__(self):
        return self.__dict__.copy()


class Wrapper(torch.optim.Optimizer):
    """An optimizer without hooks around one that has them, such as Accelerate's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer


class TestWithoutClosure:
    def test_speaks_before_the_weights_move(self):
        weight, seen = one_weight(), []
        optimizer = torch.optim.SGD([weight], lr=1.0)
        hook(optimizer, lambda evaluation: seen.append((evaluation, weight.item())))
        optimizer.step()
        optimizer.step()
        assert seen == [(0, 0.0), (0, -1.0)]

    def test_a_step_that_calls_super_counts_once(self):
        torch.optim.SGD([one_weight()])  # from now on SGD.step is hooked as well
        seen = []
        optimizer = StepsThroughSuper([one_weight()], lr=1.0)
        hook(optimizer, seen.append)
        optimizer.step()
        optimizer.step()
        assert seen == [0, 0]

    def test_a_step_that_raised_does_not_silence_the_next_one(self):
        seen, weight = [], one_weight()
        optimizer = torch.optim.SGD([weight], lr=1.0)
        hook(optimizer, seen.append)
        optimizer.param_groups[0]["lr"] = "no number"
        with pytest.raises(TypeError):
            optimizer.step()
        optimizer.param_groups[0]["lr"] = 1.0
        optimizer.step()
        assert seen == [0, 0]

    @pytest.mark.filterwarnings("ignore")  # torch's own, about what it does not trace
    def test_a_compiled_step_speaks_too(self):
        seen = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        hook(optimizer, seen.append)
        step = torch.compile(lambda: optimizer.step(), backend="eager")
        step()
        step()
        assert seen == [0, 0]

    @pytest.mark.filterwarnings("ignore")  # as above
    @pytest.mark.parametrize("unsettled", [False, True])
    def test_a_compiled_step_speaks_after_it_only_where_there_is_something_to_take_back(self, unsettled):
        said = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        hook(optimizer, lambda evaluation: None, lambda: said.append("after"), unsettled=lambda: unsettled)
        torch.compile(lambda: optimizer.step(), backend="eager")()
        assert said == (["after"] if unsettled else [])

    @pytest.mark.filterwarnings("ignore")  # as above
    def test_a_compiled_step_that_calls_super_counts_once(self):
        seen = []
        optimizer = StepsThroughSuper([one_weight()], lr=1.0)
        hook(optimizer, seen.append)
        step = torch.compile(lambda: optimizer.step(), backend="eager")
        step()
        step()
        assert seen == [0, 0]

    @pytest.mark.filterwarnings("ignore")  # as above
    def test_a_step_that_may_not_be_broken_is_refused_with_what_to_do(self):
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        hook(optimizer, lambda evaluation: None)
        with pytest.raises(torch._dynamo.exc.Unsupported, match="compile it without fullgraph=True"):
            torch.compile(lambda: optimizer.step(), backend="eager", fullgraph=True)()


class TestWithClosure:
    @pytest.mark.parametrize("by_name", [False, True])
    def test_speaks_after_the_closure_ran_and_before_the_weights_move(self, by_name):
        weight, seen = one_weight(), []
        optimizer = torch.optim.SGD([weight], lr=1.0)

        def closure():
            weight.grad = torch.full_like(weight, 3.0)
            return torch.tensor(7.0)

        hook(optimizer, lambda evaluation: seen.append((evaluation, weight.grad.item(), weight.item())))
        loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        assert seen == [(0, 3.0, 0.0)]
        assert loss.item() == 7.0
        assert weight.item() == -3.0

    def test_numbers_the_evaluations_of_one_step(self):
        weight, seen = one_weight(), []
        optimizer = torch.optim.LBFGS([weight], max_iter=3)
        hook(optimizer, seen.append)

        def closure():
            optimizer.zero_grad()
            loss = (weight - 2).pow(4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        first = list(seen)
        optimizer.step(closure)
        assert first == list(range(len(first)))
        assert len(first) > 1
        assert seen[len(first)] == 0

    def test_a_closure_without_a_name_is_welcome(self):
        weight, seen = one_weight(), []
        optimizer = torch.optim.SGD([weight], lr=1.0)
        hook(optimizer, seen.append)
        optimizer.step(functools.partial(torch.tensor, 7.0))
        assert seen == [0]

    def test_what_the_closure_raises_goes_through(self):
        seen = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        hook(optimizer, seen.append)

        def closure():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            optimizer.step(closure)
        assert seen == []


class TestAfterTheStep:
    def test_speaks_once_the_weights_have_moved(self):
        weight, seen = one_weight(), []
        optimizer = torch.optim.SGD([weight], lr=1.0)
        hook(optimizer, lambda evaluation: None, stepped=lambda: seen.append(weight.item()))
        optimizer.step()
        optimizer.step(lambda: None)
        assert seen == [-1.0, -2.0]

    def test_speaks_before_a_hook_of_the_users_whenever_that_was_registered(self):
        order = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        optimizer.register_step_post_hook(lambda *_: order.append("theirs"))
        hook(optimizer, lambda evaluation: None, stepped=lambda: order.append("ours"))
        optimizer.step()
        assert order == ["ours", "theirs"]

    def test_says_nothing_of_a_step_that_raised(self):
        seen = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        optimizer.param_groups[0]["lr"] = "no number"
        hook(optimizer, lambda evaluation: None, stepped=lambda: seen.append("stepped"))
        with pytest.raises(TypeError):
            optimizer.step()
        assert seen == []


class TestFaults:
    @pytest.mark.parametrize("closure", [None, lambda: None])
    def test_one_while_the_gradients_were_seen_to_is_given_to_the_rescue(self, closure):
        faults = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        hook(optimizer, lambda evaluation: 1 / 0, rescue=faults.append)
        optimizer.step(closure)
        assert [type(fault) for fault in faults] == [ZeroDivisionError]

    def test_one_after_the_step_is_told(self):
        faults = []
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        hook(optimizer, lambda evaluation: None, stepped=lambda: 1 / 0, tell=faults.append)
        optimizer.step()
        assert [type(fault) for fault in faults] == [ZeroDivisionError]

    @pytest.mark.parametrize("closure", [None, lambda: None])
    def test_what_the_policy_asks_for_ends_the_step(self, closure):
        weight = one_weight()
        optimizer = torch.optim.SGD([weight], lr=1.0)

        def refuse(evaluation):
            raise NonFiniteGradientError("not finite")

        hook(optimizer, refuse)
        with pytest.raises(NonFiniteGradientError):
            optimizer.step(closure)
        assert weight.item() == 0.0


class TestWhatIsLeft:
    def test_nothing_once_removed(self):
        optimizer = torch.optim.SGD([one_weight()], lr=1.0)
        before = {name: len(value) for name, value in vars(optimizer).items() if name.endswith("hooks")}
        attached = hook(optimizer, lambda evaluation: None)
        attached.remove()
        attached.remove()
        assert {name: len(value) for name, value in vars(optimizer).items() if name.endswith("hooks")} == before

    @pytest.mark.parametrize("kind", [torch.optim.SGD, PicklesEverything])
    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
    def test_a_copy_of_the_optimizer_works_and_is_not_watched(self, kind, copied):
        seen = []
        optimizer = kind([one_weight()], lr=1.0)
        hook(optimizer, seen.append)
        twin = copied(optimizer)
        weight = twin.param_groups[0]["params"][0]
        weight.grad = torch.ones(1)
        twin.step()
        assert weight.item() == -1.0
        assert seen == []
        optimizer.step()
        assert seen == [0]


def test_a_wrapper_without_hooks_is_unwrapped():
    optimizer = torch.optim.SGD([one_weight()])
    assert with_hooks(Wrapper(Wrapper(optimizer))) is optimizer
    assert with_hooks(optimizer) is optimizer
