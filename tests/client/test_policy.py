"""A step whose gradients are not finite is taken, skipped or ended, as was chosen, and a skip changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradvitals.errors import ConfigurationError, NonFiniteGradientError
from gradvitals.policy import MOST_SKIPS, WINDOW, Action, NonFinitePolicy, SetAside

OPTIMIZERS = {
    "SGD": lambda weights, **form: torch.optim.SGD(weights, lr=0.1, momentum=0.9, **form),
    "Adam": lambda weights, **form: torch.optim.Adam(weights, **form),
    "AdamW": lambda weights, **form: torch.optim.AdamW(weights, **form),
    "Adagrad": lambda weights, **form: torch.optim.Adagrad(weights, **form),
    "RMSprop": lambda weights, **form: torch.optim.RMSprop(weights, momentum=0.9, **form),
}
FORMS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}
KINDS = [
    pytest.param(make, form, id=f"{name}-{kind}")
    for name, make in OPTIMIZERS.items()
    for kind, form in FORMS.items()
    if (name, kind) != ("RMSprop", "fused")  # torch has none
]
OF_TORCH = [
    kind
    for kind in vars(torch.optim).values()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
]


def two_weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([[1.0, 2.0]])), nn.Parameter(torch.tensor([[3.0]]))]


def give_gradients(weights: list[nn.Parameter], value: float) -> None:
    for weight in weights:
        weight.grad = torch.full_like(weight, value)


def everything(optimizer: torch.optim.Optimizer) -> object:
    """Weights and state, in a form that == compares bit for bit."""
    weights = [parameter.tolist() for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()["state"]
    return weights, {key: {name: torch.as_tensor(v).tolist() for name, v in s.items()} for key, s in state.items()}


class Skipping:
    """Skips each step of an optimizer, as a monitor does: from its own hooks, or within the closure of the step."""

    def __init__(self, optimizer: torch.optim.Optimizer, weights: list[nn.Parameter]) -> None:
        self.optimizer, self.weights, self.set_aside = optimizer, weights, SetAside()

    def step(self) -> None:
        self.handles = (
            self.optimizer.register_step_pre_hook(lambda *_: self.set_aside.hide(self.weights)),
            self.optimizer.register_step_post_hook(lambda *_: self.set_aside.restore()),
        )
        self.optimizer.step()
        for handle in self.handles:
            handle.remove()

    def step_with_closure(self) -> torch.Tensor:
        def closure() -> torch.Tensor:
            self.optimizer.zero_grad()
            give_gradients(self.weights, math.nan)
            self.set_aside.hide(self.weights)
            return torch.tensor(7.0)

        loss = self.optimizer.step(closure)
        self.set_aside.restore()
        return loss


class TestASkippedStep:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    @pytest.mark.parametrize(("make", "form"), KINDS)
    def test_changes_no_bit_of_weights_and_state(self, make, form, weight_decay):
        weights = two_weights()
        optimizer = make(weights, weight_decay=weight_decay, **form)
        give_gradients(weights, 0.5)
        optimizer.step()
        before = everything(optimizer)
        give_gradients(weights, math.nan)
        Skipping(optimizer, weights).step()
        assert everything(optimizer) == before

    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    @pytest.mark.parametrize(("make", "form"), KINDS)
    def test_may_be_the_very_first(self, make, form, weight_decay):
        weights, spared_weights = two_weights(), two_weights()
        optimizer = make(weights, weight_decay=weight_decay, **form)
        spared = make(spared_weights, weight_decay=weight_decay, **form)
        before = everything(optimizer)
        give_gradients(weights, math.inf)
        Skipping(optimizer, weights).step()
        assert everything(optimizer) == before
        for parameters, stepped in ((weights, optimizer), (spared_weights, spared)):
            give_gradients(parameters, 0.5)
            stepped.step()
        assert everything(optimizer) == everything(spared)

    @pytest.mark.parametrize(("make", "form"), KINDS)
    def test_may_be_given_a_closure_whose_loss_it_returns(self, make, form):
        weights = two_weights()
        optimizer = make(weights, weight_decay=0.1, **form)
        before = everything(optimizer)
        assert Skipping(optimizer, weights).step_with_closure().item() == 7.0
        assert everything(optimizer) == before

    @pytest.mark.parametrize("kind", [kind for kind in OF_TORCH if kind is not torch.optim.LBFGS])
    def test_is_nothing_to_any_optimizer_of_torch_but_lbfgs_which_is_only_observed(self, kind):
        weights = two_weights()
        optimizer = kind(weights, lr=0.1)
        before = everything(optimizer)
        give_gradients(weights, math.nan)
        Skipping(optimizer, weights).step()
        assert everything(optimizer) == before

    def test_leaves_the_very_same_gradients_behind(self):
        weights = two_weights()
        give_gradients(weights, math.nan)
        gradients = [weight.grad for weight in weights]
        Skipping(torch.optim.SGD(weights), weights).step()
        assert all(weight.grad is gradient for weight, gradient in zip(weights, gradients, strict=True))


class TestSettingAside:
    """The first of two weights has a gradient, the other none."""

    @pytest.fixture
    def weights(self) -> list[nn.Parameter]:
        weights = two_weights()
        give_gradients(weights[:1], math.nan)
        return weights

    def test_hides_every_gradient(self, weights):
        SetAside().hide(weights)
        assert [weight.grad for weight in weights] == [None, None]

    def test_gives_back_only_what_was_there(self, weights):
        set_aside = SetAside()
        set_aside.hide(weights)
        set_aside.restore()
        assert weights[0].grad.isnan().all()
        assert weights[1].grad is None

    def test_gives_back_only_once(self, weights):
        set_aside = SetAside()
        set_aside.hide(weights)
        set_aside.restore()
        weights[0].grad = None
        set_aside.restore()
        assert weights[0].grad is None

    def test_takes_sparse_gradients_too(self):
        table = nn.Embedding(3, 2, sparse=True)
        table(torch.tensor([1])).sum().backward()
        set_aside = SetAside()
        set_aside.hide([table.weight])
        assert table.weight.grad is None
        set_aside.restore()
        assert table.weight.grad.is_sparse

    def test_never_puts_an_old_gradient_over_a_new_one(self, weights):
        set_aside = SetAside()
        set_aside.hide(weights)
        give_gradients(weights[:1], 5.0)
        set_aside.restore()
        assert weights[0].grad.tolist() == [[5.0, 5.0]]

    def test_nor_beside_a_new_one_since_a_whole_new_backward_has_run_then(self, weights):
        give_gradients(weights, math.nan)
        set_aside = SetAside()
        set_aside.hide(weights)
        give_gradients(weights[1:], 5.0)
        set_aside.restore()
        assert weights[0].grad is None
        assert weights[1].grad.item() == 5.0

    def test_what_a_step_that_raised_left_is_forgotten(self, weights):
        set_aside = SetAside()
        set_aside.hide(weights)
        set_aside.forget()
        set_aside.restore()
        assert weights[0].grad is None

    def test_hiding_again_forgets_the_evaluation_before(self, weights):
        set_aside = SetAside()
        set_aside.hide(weights)
        give_gradients(weights[:1], math.inf)
        set_aside.hide(weights)
        set_aside.restore()
        assert weights[0].grad.isinf().all()


class TestPolicy:
    @pytest.mark.parametrize("on_non_finite", ["keep", "skip", "raise"])
    def test_a_finite_step_is_taken(self, on_non_finite):
        assert NonFinitePolicy(on_non_finite).judge(0, True) is Action.STEP

    @pytest.mark.parametrize(
        ("on_non_finite", "action"), [("keep", Action.STEP), ("skip", Action.SKIP), ("raise", Action.RAISE)]
    )
    def test_another_one_is_dealt_with_as_was_chosen(self, on_non_finite, action):
        assert NonFinitePolicy(on_non_finite).judge(0, False) is action

    def test_another_word_is_refused(self):
        with pytest.raises(ConfigurationError, match="on_non_finite must be 'keep', 'skip' or 'raise', not 'ignore'"):
            NonFinitePolicy("ignore")

    def test_remembers_the_newest_step_whose_gradients_were_finite(self):
        policy = NonFinitePolicy("keep")
        assert policy.last_healthy_step is None
        for step, finite in enumerate([True, True, False, True, False]):
            policy.judge(step, finite)
        assert policy.last_healthy_step == 3

    def test_the_error_names_the_step_and_where(self):
        error = NonFinitePolicy("raise").error(7, math.nan, "head.weight")
        assert isinstance(error, NonFiniteGradientError)
        assert str(error) == "the gradient norm of step 7 is nan: not finite in head.weight"


class TestTheMostSkips:
    def test_are_twenty_in_a_row(self):
        policy = NonFinitePolicy("skip")
        actions = [policy.judge(step, False) for step in range(21)]
        assert actions == [Action.SKIP] * 20 + [Action.RAISE]

    def test_are_twenty_in_two_hundred_steps(self):
        policy = NonFinitePolicy("skip")
        for step in range(19):
            policy.judge(step, False)
        for step in range(19, 199):
            policy.judge(step, True)
        assert policy.judge(199, False) is Action.SKIP  # the twentieth of steps 0 to 199
        assert policy.judge(200, False) is Action.SKIP  # the twentieth of steps 1 to 200
        assert policy.judge(201, False) is Action.SKIP
        assert (MOST_SKIPS, WINDOW) == (20, 200)

    def test_one_every_ten_steps_may_go_on_for_ever(self):
        policy = NonFinitePolicy("skip")
        assert {policy.judge(step, False) for step in range(0, 10_000, 10)} == {Action.SKIP}

    def test_one_every_nine_steps_may_not(self):
        policy = NonFinitePolicy("skip")
        assert [policy.judge(step, False) for step in range(0, 189, 9)] == [Action.SKIP] * 20 + [Action.RAISE]

    def test_the_error_says_so_and_where_weights_were_healthy(self):
        policy = NonFinitePolicy("skip")
        policy.judge(4, True)
        assert str(policy.error(25, math.inf, "head.weight")) == (
            "the gradient norm of step 25 is inf: not finite in head.weight. 20 of the last 200 steps were skipped for "
            "that already, so skipping does not cure it; the last healthy step was 4"
        )

    def test_the_error_says_where_none_was_healthy(self):
        assert "no step has been healthy so far" in str(NonFinitePolicy("skip").error(20, math.nan, "head.weight"))
