"""What a monitor does with steps that are not finite, as was asked: keep as torch does, skip, or raise."""

from __future__ import annotations

import math

import pytest
import torch
from client.looping import Loop, ThreeAndFour, everything, fused_sgd, sgd
from torch import nn

from gradvitals.clipping import ClipByLayerNorm
from gradvitals.errors import NonFiniteGradientError
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP
from gradvitals.policy import MOST_SKIPS, WINDOW

PLAIN_AND_FUSED = pytest.mark.parametrize("make", [sgd, fused_sgd])
KINDS = {
    "SGD with momentum": lambda weights, **form: torch.optim.SGD(weights, lr=0.1, momentum=0.9, **form),
    "Adam": lambda weights, **form: torch.optim.Adam(weights, **form),
    "AdamW": lambda weights, **form: torch.optim.AdamW(weights, **form),
    "Adagrad": lambda weights, **form: torch.optim.Adagrad(weights, **form),
    "RMSprop": lambda weights, **form: torch.optim.RMSprop(weights, momentum=0.9, **form),
}
FORMS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}
OPTIMIZERS = [
    pytest.param(lambda weights, make=make, form=form: make(weights, weight_decay=0.1, **form), id=f"{name}, {kind}")
    for name, make in KINDS.items()
    for kind, form in FORMS.items()
    if (name, kind) != ("RMSprop", "fused")  # torch has none
]


class FiveLayers(nn.Module):
    """Five layers of one weight each, called in order."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(5)])

    def set_gradients(self, bad_layer: int | None = None, bad: float = math.nan) -> None:
        for place, layer in enumerate(self.layers):
            layer.weight.grad = torch.full((2, 2), 1.0)
            if place == bad_layer:
                layer.weight.grad[0, 1] = bad
                layer.weight.grad[1, 1] = bad

    def gradients(self) -> torch.Tensor:
        return torch.stack([layer.weight.grad for layer in self.layers])


class TestCounts:
    """NaN and infinities are counted, layer by layer, before the clip spreads them to all of them."""

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", range(5))
    @pytest.mark.parametrize(
        "options", [{}, {"max_norm": 1.0}, {"clip_value": 0.5}, {"strategy": ClipByLayerNorm(1.0)}]
    )
    @PLAIN_AND_FUSED
    def test_name_the_layer_in_which_it_was_planted(self, make, options, place, bad):
        loop = Loop(make, model=FiveLayers(), **options)
        loop.model.set_gradients(place, bad)
        loop.optimizer.step()
        counts = (place, 2, 0) if math.isnan(bad) else (place, 0, 2)
        assert loop.frame.non_finite == [counts]
        assert loop.frame.flags == FLAG_NON_FINITE
        norms = loop.frame.layer_norms.tolist()
        assert norms.pop(place) == pytest.approx(abs(bad), nan_ok=True)
        assert norms == [2.0] * 4

    def test_leave_out_what_is_not_measured_and_layers_without_gradient(self):
        loop = Loop(model=FiveLayers(), exclude="layers.1.*")
        loop.model.set_gradients(1)
        loop.model.layers[0].weight.grad = None
        loop.model.layers[3].weight.grad[0, 0] = math.inf
        loop.optimizer.step()
        assert [loop.frame.layout.layers[layer].name for layer, _, _ in loop.frame.non_finite] == ["layers.3.weight"]
        assert loop.frame.non_finite == [(2, 0, 1)]

    def test_of_a_group_are_those_of_its_members(self):
        loop = Loop(model=FiveLayers(), group_by="layers")
        loop.model.set_gradients(1, math.nan)
        loop.model.layers[4].weight.grad[0, 0] = math.inf
        loop.optimizer.step()
        assert loop.frame.non_finite == [(0, 2, 1)]

    def test_are_made_on_the_step_where_it_begins(self):
        loop = Loop()
        loop.step()
        for first in (math.inf, math.nan, 3.0, math.inf):
            loop.step(first, 4.0)
        assert [frame.non_finite for frame in loop.frames] == [None, [(0, 0, 1)], None, None, [(0, 0, 1)]]


@PLAIN_AND_FUSED
class TestKeep:
    """As torch does it: NaN becomes NaN everywhere; of an infinite norm are left zeros, and NaN where it was."""

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", range(5))
    def test_gradients_and_weights_become_what_they_become_in_torch(self, make, place, bad):
        torch.manual_seed(0)
        loop, torchs = Loop(make, model=FiveLayers(), max_norm=1.0), FiveLayers()
        torchs.load_state_dict(loop.model.state_dict())
        optimizer = make(torchs.parameters())
        for step in range(3):
            for model in (loop.model, torchs):
                model.set_gradients(place if step == 1 else None, bad)
            nn.utils.clip_grad_norm_(torchs.parameters(), 1.0)
            loop.optimizer.step()
            optimizer.step()
            close = {"equal_nan": True} | ({"rtol": 1e-6, "atol": 0} if make is fused_sgd else {"rtol": 0, "atol": 0})
            torch.testing.assert_close(loop.model.gradients(), torchs.gradients(), **close)
            for mine, theirs in zip(loop.model.parameters(), torchs.parameters(), strict=True):
                torch.testing.assert_close(mine, theirs, **close)

    def test_the_frame_has_no_coefficient(self, make):
        loop = Loop(make, max_norm=1.0)
        loop.step(3.0, math.nan)
        assert math.isnan(loop.frame.clip_coefficient)
        assert loop.frame.layer_norms[0] == 3.0

    def test_the_last_healthy_step_is_the_one_before(self, make):
        loop = Loop(make)
        assert loop.monitor.last_healthy_step is None
        for first in (3.0, 3.0, math.nan, math.inf):
            loop.step(first)
        assert loop.monitor.last_healthy_step == 1
        loop.step()
        assert loop.monitor.last_healthy_step == 4


class TestSkip:
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("make", OPTIMIZERS)
    def test_changes_no_bit_of_weights_and_state_and_the_next_step_is_as_if_it_had_not_been(self, make, bad):
        loop, spared = (Loop(make, max_norm=1.0, on_non_finite="skip") for _ in range(2))
        for first in (3.0, bad, bad, 2.0):
            before = everything(loop.optimizer)
            loop.step(first)
            if not math.isfinite(first):
                assert everything(loop.optimizer) == before
            else:
                spared.step(first)
        assert everything(loop.optimizer) == everything(spared.optimizer)

    @pytest.mark.parametrize("make", OPTIMIZERS)
    def test_may_be_the_very_first_step(self, make):
        loop, spared = (Loop(make, max_norm=1.0, on_non_finite="skip") for _ in range(2))
        loop.step(math.nan)
        loop.step()
        spared.step()
        assert everything(loop.optimizer) == everything(spared.optimizer)

    @PLAIN_AND_FUSED
    def test_is_a_frame_with_its_flag_and_without_a_coefficient(self, make):
        loop = Loop(make, max_norm=1.0, on_non_finite="skip")
        loop.step()
        loop.step(math.nan)
        loop.step()
        assert [frame.step for frame in loop.frames] == [0, 1, 2]
        assert [frame.flags for frame in loop.frames] == [0, FLAG_NON_FINITE | FLAG_SKIPPED_STEP, 0]
        assert math.isnan(loop.frames[1].clip_coefficient)

    def test_counts_every_bad_step_anew_since_none_of_them_lives_on(self):
        loop = Loop(on_non_finite="skip")
        loop.step(math.nan)
        loop.step(3.0, math.inf)
        assert [frame.non_finite for frame in loop.frames] == [[(0, 1, 0)], [(1, 0, 1)]]

    @PLAIN_AND_FUSED
    def test_leaves_the_bad_gradients_where_they_were(self, make):
        loop = Loop(make, max_norm=1.0, on_non_finite="skip")
        loop.step(math.inf)
        assert loop.model.gradients() == [math.inf, 4.0]

    def test_within_a_closure_returns_its_loss(self):
        loop = Loop(max_norm=1.0, on_non_finite="skip")

        def closure():
            loop.model.set_gradients(math.nan)
            return torch.tensor(7.0)

        assert loop.optimizer.step(closure).item() == 7.0
        assert loop.model.weights() == [1.0, 2.0]
        assert loop.frame.flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP

    def test_the_last_healthy_step_is_the_one_before(self):
        loop = Loop(on_non_finite="skip")
        for first in (3.0, math.nan, math.nan):
            loop.step(first)
        assert loop.monitor.last_healthy_step == 0

    def test_of_more_than_twenty_in_two_hundred_steps_ends_the_training(self):
        loop = Loop(on_non_finite="skip")
        loop.step()
        for _ in range(MOST_SKIPS):
            loop.step(math.nan)
        weights = loop.model.weights()
        with pytest.raises(NonFiniteGradientError, match=f"{MOST_SKIPS} of the last {WINDOW} steps were skipped"):
            loop.step(math.nan)
        assert loop.model.weights() == weights
        assert len(loop.frames) == 1 + MOST_SKIPS + 1

    def test_of_one_in_ten_steps_may_go_on(self):
        loop = Loop(on_non_finite="skip")
        for step in range(300):
            loop.step(math.nan if step % 10 == 0 else 3.0)
        assert sum(bool(frame.flags & FLAG_SKIPPED_STEP) for frame in loop.frames) == 30


@PLAIN_AND_FUSED
class TestRaise:
    def test_ends_the_step_before_anything_is_changed(self, make):
        loop = Loop(make, max_norm=1.0, on_non_finite="raise")
        with pytest.raises(NonFiniteGradientError, match=r"step 0 is nan: not finite in first\.weight"):
            loop.step(math.nan, 4.0)
        assert loop.model.gradients()[1] == 4.0
        assert loop.model.weights() == [1.0, 2.0]
        assert loop.frame.flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP

    def test_the_next_step_is_an_ordinary_one(self, make):
        loop = Loop(make, max_norm=1.0, on_non_finite="raise")
        with pytest.raises(NonFiniteGradientError):
            loop.step(math.nan)
        loop.step()
        assert (loop.frame.step, loop.frame.flags) == (1, 0)
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])

    @pytest.mark.parametrize("place", range(5))
    def test_names_the_first_bad_layer_and_the_finite_ones_around_it(self, make, place):
        loop = Loop(make, model=FiveLayers(), max_norm=1.0, on_non_finite="raise")
        loop.model.set_gradients(place, math.inf)
        with pytest.raises(NonFiniteGradientError) as raised:
            loop.optimizer.step()
        around = [f"layers.{layer}.weight" for layer in (place + 1, place - 1) if 0 <= layer < 5]
        assert str(raised.value) == (
            f"the gradient norm of step 0 is inf: not finite in layers.{place}.weight, the first in backward order; "
            f"still finite next to it: {' and '.join(around)}"
        )

    def test_of_a_real_backward_names_the_layer_it_arose_in(self, make):
        # The square root of zero has an infinite slope: NaN in all that lies before it, nothing behind it.
        loop = Loop(make, model=FiveLayers(), on_non_finite="raise")
        layers = loop.model.layers
        hidden = layers[2](layers[1](layers[0](torch.ones(1, 2))))
        (layers[4](layers[3](torch.sqrt(hidden * 0)))).sum().backward()
        with pytest.raises(NonFiniteGradientError, match=r"not finite in layers\.2\.weight, the first"):
            loop.optimizer.step()

    def test_within_a_closure_too(self, make):
        loop = Loop(make, max_norm=1.0, on_non_finite="raise")
        with pytest.raises(NonFiniteGradientError):
            loop.optimizer.step(lambda: loop.model.set_gradients(math.nan))
        assert loop.model.weights() == [1.0, 2.0]


def test_a_group_is_named_as_a_whole():
    loop = Loop(on_non_finite="raise", group_by="first")
    with pytest.raises(NonFiniteGradientError, match=r"not finite in first, the first in backward order"):
        loop.step(math.nan)


def test_a_layer_without_gradient_is_not_named_as_finite():
    loop = Loop(on_non_finite="raise", model=FiveLayers())
    parameters = list(loop.model.parameters())
    for parameter in parameters[:4]:
        parameter.grad = torch.ones_like(parameter)
    parameters[3].grad.fill_(math.nan)
    names = [name for name, _ in loop.model.named_parameters()]
    with pytest.raises(NonFiniteGradientError, match=f"still finite next to it: {names[2]}$"):
        loop.optimizer.step()


def test_where_no_layer_that_is_measured_is_bad_the_error_says_so():
    loop = Loop(on_non_finite="raise", exclude="first.*")
    with pytest.raises(NonFiniteGradientError, match="no layer that is measured"):
        loop.step(math.nan)


def test_squares_that_overflow_are_finite_to_every_policy():
    for policy in ("keep", "skip", "raise"):
        loop, torchs = Loop(max_norm=1.0, on_non_finite=policy), ThreeAndFour()
        loop.step(3e30, 4e30)
        assert (loop.frame.flags, loop.frame.global_norm) == (0, pytest.approx(5e30))
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        torchs.set_gradients(3e30, 4e30)
        nn.utils.clip_grad_norm_(torchs.parameters(), 1.0)
        assert torchs.gradients() == [0.0, 0.0]  # what torch makes of it
