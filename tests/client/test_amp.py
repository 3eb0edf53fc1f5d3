"""What torch's own GradScaler does to an optimizer's steps is seen, and nothing of it is changed."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn

from gradvitals.amp import FIRST_NORMS, ScaledNorms, ScalerWatch
from gradvitals.errors import ConfigurationError
from gradvitals.fused_step import FusedStep
from gradvitals.norms import gradient_norms
from gradvitals.policy import SetAside

SCALE = 2.0**16


class Unpicky(torch.amp.GradScaler):
    """A scaler with a step of its own, as frameworks have."""

    def step(self, optimizer, *args, **kwargs):
        super().step(optimizer, *args, **kwargs)
        return "stepped"


class Wrapper(torch.optim.Optimizer):
    """An optimizer without hooks around one that has them, such as Accelerate's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.step = optimizer.step

    @property
    def param_groups(self):
        return self.optimizer.param_groups


class Training:
    """One weight of two numbers, trained under a scaler, and watched from a hook as a monitor watches it."""

    def __init__(self, *, fused: bool = False, scaler: torch.amp.GradScaler | None = None, **options: object) -> None:
        self.scaler = scaler or torch.amp.GradScaler("cpu")
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.optimizer = torch.optim.SGD([self.weight], lr=0.5, fused=fused, **options)
        self.fused = FusedStep.of(self.optimizer)
        self.divisor: torch.Tensor | None = None  # the clip's
        self.norms: list[float] = []
        self.skipped: list[float] = []  # loss scales
        self.watch = ScalerWatch(self.scaler, self.optimizer, on_skipped=self.skip)
        self.optimizer.register_step_pre_hook(self.before)
        self.optimizer.register_step_post_hook(self.after)

    def before(self, *_: object) -> None:
        self.watch.stepping()
        scale = getattr(self.optimizer, "grad_scale", None)
        self.measure(1.0 if scale is None else scale)
        if getattr(self.optimizer, "found_inf", torch.zeros(())).item() == 1.0:
            self.skipped.append(float(self.watch.loss_scale()))
        elif self.fused is not None and self.divisor is not None:
            self.fused.tell(divisor=self.divisor)

    def after(self, *_: object) -> None:
        if self.fused is not None:
            self.fused.take_back()

    def skip(self, loss_scale: torch.Tensor | float) -> None:
        self.skipped.append(float(loss_scale))
        self.measure(1.0)

    def measure(self, scale: torch.Tensor | float) -> None:
        self.norms.append(float(gradient_norms([self.weight.grad]).divided_by(scale).global_norm))

    def backward(self, factor: float = 1.0) -> None:
        """The gradient is (0.3, 0.4) times ``factor``, times the loss scale."""
        self.optimizer.zero_grad()
        self.scaler.scale((self.weight * torch.tensor([0.3, 0.4]) * factor).sum()).backward()

    def step(self, factor: float = 1.0, *, unscale: bool = False) -> object:
        self.backward(factor)
        if unscale:
            self.scaler.unscale_(self.optimizer)
        result = self.scaler.step(self.optimizer)
        self.scaler.update()
        return result


@pytest.mark.parametrize("unscale", [False, True], ids=["left scaled", "unscaled by the user"])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
class TestEveryWayToUseAScaler:
    def test_the_norm_is_the_one_without_a_loss_scale(self, fused, unscale):
        training = Training(fused=fused)
        training.step(unscale=unscale)
        assert training.norms == pytest.approx([0.5], rel=1e-6)
        assert training.skipped == []
        assert training.weight.tolist() == pytest.approx([0.85, 1.8])

    def test_an_overflow_is_seen_exactly_once_with_the_scale_that_was_too_large(self, fused, unscale):
        training = Training(fused=fused)
        training.step(math.inf, unscale=unscale)
        assert training.skipped == [SCALE]
        assert not math.isfinite(training.norms[0])
        assert len(training.norms) == 1
        assert training.weight.tolist() == [1.0, 2.0]
        assert training.scaler.get_scale() == SCALE / 2

    def test_after_it_things_go_on(self, fused, unscale):
        training = Training(fused=fused)
        for factor in (1.0, math.nan, 1.0):
            training.step(factor, unscale=unscale)
        assert training.norms == pytest.approx([0.5, math.nan, 0.5], rel=1e-6, nan_ok=True)
        assert training.skipped == [SCALE]

    def test_the_scaler_does_what_it_does_unwatched(self, fused, unscale):
        watched, alone = Training(fused=fused), Training(fused=fused)
        alone.watch.close()
        for training in (watched, alone):
            for factor in (1.0, math.inf, 2.0, math.nan, 3.0):
                training.step(factor, unscale=unscale)
        assert watched.weight.tolist() == alone.weight.tolist()
        assert watched.scaler.state_dict() == alone.scaler.state_dict()


class TestClippingInAFusedStep:
    @pytest.mark.parametrize("unscale", [False, True])
    def test_the_clip_joins_the_loss_scale_and_the_scaler_finds_what_it_put_there(self, unscale):
        training = Training(fused=True)
        training.divisor = torch.tensor(5.0)  # from 0.5 to 0.1
        before = set(vars(training.optimizer))
        training.step(unscale=unscale)
        assert training.weight.tolist() == pytest.approx([0.97, 1.96])
        assert training.weight.grad.tolist() == pytest.approx([0.06, 0.08])
        assert set(vars(training.optimizer)) == before

    def test_a_step_that_raised_leaves_no_loss_scale_behind_to_be_multiplied_with_the_next(self):
        training = Training(fused=True)
        training.divisor = torch.tensor(5.0)
        before = dict(vars(training.optimizer))
        handle = training.optimizer.register_step_pre_hook(lambda *_: 1 / 0)
        training.backward()
        with pytest.raises(ZeroDivisionError):
            training.scaler.step(training.optimizer)
        assert vars(training.optimizer) == before
        handle.remove()
        training.fused.take_back()
        training.scaler.step(training.optimizer)
        assert training.weight.tolist() == pytest.approx([0.97, 1.96])


class TestAnOverflowInTheFirstStepOfFusedMomentum:
    def test_is_survived_by_setting_the_gradients_aside(self):
        training = Training(fused=True, momentum=0.9)
        set_aside = SetAside()

        def before(*_: object) -> None:
            if training.optimizer.found_inf.item() == 1.0 and not training.fused.skips_cleanly():
                set_aside.hide([training.weight])

        training.optimizer.register_step_pre_hook(before)
        training.optimizer.register_step_post_hook(lambda *_: set_aside.restore())
        training.step(math.inf)
        assert training.scaler.get_scale() == SCALE / 2
        assert training.weight.grad.isinf().all()
        assert not training.optimizer.state
        training.step()
        assert training.weight.tolist() == pytest.approx([0.85, 1.8])
        assert training.optimizer.state[training.weight]["momentum_buffer"].tolist() == pytest.approx([0.3, 0.4])


class TestWhoseStep:
    def test_the_steps_of_another_optimizer_are_not_ours(self):
        scaler = torch.amp.GradScaler("cpu")
        generator, discriminator = Training(scaler=scaler), Training(scaler=scaler)
        generator.backward()
        discriminator.backward(math.inf)
        scaler.step(generator.optimizer)
        scaler.step(discriminator.optimizer)
        scaler.update()
        assert generator.skipped == []
        assert discriminator.skipped == [SCALE]

    def test_one_that_is_passed_in_a_wrapper_is(self):
        training = Training()
        training.backward(math.inf)
        training.scaler.step(Wrapper(training.optimizer))
        assert training.skipped == [SCALE]

    def test_what_the_scaler_returns_and_raises_goes_through(self):
        training = Training(scaler=Unpicky("cpu"))
        assert training.step(math.inf) == "stepped"
        assert training.skipped == [SCALE]
        training.backward()
        training.scaler.step(training.optimizer)
        with pytest.raises(RuntimeError, match="already been called since the last update"):
            training.scaler.step(training.optimizer)
        assert training.skipped == [SCALE]

    def test_a_step_by_name_is_seen_too(self):
        training = Training()
        training.backward(math.inf)
        training.scaler.step(optimizer=training.optimizer)
        assert training.skipped == [SCALE]

    def test_a_step_outside_the_scaler_changes_nothing(self):
        training = Training()
        training.weight.grad = torch.tensor([0.3, 0.4])
        training.optimizer.step()
        training.step(math.inf)
        assert training.norms[0] == pytest.approx(0.5)
        assert training.skipped == [SCALE]


class TestFaultsOfOurs:
    def test_one_while_making_the_frame_is_told_and_not_raised(self):
        faults, training = [], Training()
        training.watch.close()
        ScalerWatch(training.scaler, training.optimizer, on_skipped=lambda scale: 1 / 0, on_fault=faults.append)
        training.step(math.inf)
        assert [type(fault) for fault in faults] == [ZeroDivisionError]
        assert training.scaler.get_scale() == SCALE / 2

    def test_not_even_one_while_telling_it(self):
        training = Training()
        training.watch.close()
        ScalerWatch(
            training.scaler, training.optimizer, on_skipped=lambda scale: 1 / 0, on_fault=lambda fault: fault.no_such
        )
        training.step(math.inf)
        assert training.scaler.get_scale() == SCALE / 2

    def test_one_before_the_scaler_steps_does_not_keep_it_from_stepping(self):
        class Cursed:
            @property
            def optimizer(self):
                raise LookupError

        faults, training = [], Training()
        watch = ScalerWatch(training.scaler, training.optimizer, on_skipped=lambda scale: None, on_fault=faults.append)
        training.backward()
        with pytest.raises(AttributeError, match="param_groups"):  # the scaler's own
            training.scaler.step(Cursed())
        watch.close()
        assert [type(fault) for fault in faults] == [LookupError]


class TestClosing:
    def test_leaves_no_trace(self):
        scaler = torch.amp.GradScaler("cpu")
        before = dict(vars(scaler))
        training = Training(scaler=scaler)
        assert "step" in vars(scaler)
        training.watch.close()
        training.watch.close()
        assert vars(scaler) == before

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_those_who_watch_one_scaler_leave_in_any_order(self, order):
        scaler = torch.amp.GradScaler("cpu")
        before = dict(vars(scaler))
        trainings = [Training(scaler=scaler) for _ in range(3)]
        for leaving in order:
            trainings[leaving].watch.close()
            trainings[leaving].backward(math.inf)
            scaler.step(trainings[leaving].optimizer)
            scaler.update()
            assert trainings[leaving].skipped == []
        assert set(vars(scaler)) == set(before)
        remaining = Training(scaler=scaler)
        remaining.step(math.inf)
        assert len(remaining.skipped) == 1

    def test_gives_back_a_step_that_was_there_before(self):
        scaler = torch.amp.GradScaler("cpu")
        plain = scaler.step
        theirs = scaler.step = lambda *args: plain(*args)
        training = Training(scaler=scaler)
        training.step(math.inf)
        training.watch.close()
        assert scaler.step is theirs
        assert training.skipped == [SCALE]

    def test_under_somebody_elses_wrap_only_falls_silent(self):
        training = Training()
        ours = training.scaler.step
        theirs = training.scaler.step = lambda *args: ours(*args)
        training.watch.close()
        assert training.scaler.step is theirs
        training.step(math.inf)
        training.step()
        assert training.skipped == []
        assert training.weight.tolist() == pytest.approx([0.85, 1.8])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda scaler: pickle.loads(pickle.dumps(scaler))])
class TestACopyOfTheScaler:
    def test_is_not_watched(self, copied):
        training = Training()
        twin = copied(training.scaler)
        alone = Training(scaler=twin)
        alone.watch.close()
        alone.step(math.inf)
        assert training.skipped == alone.skipped == []
        assert twin.get_scale() == SCALE / 2
        assert training.scaler.get_scale() == SCALE

    def test_can_be_copied_and_watched_in_turn(self, copied):
        training = Training(scaler=copied(copied(Training().scaler)))
        training.step(math.inf)
        assert training.skipped == [SCALE]

    def test_is_not_hindered_by_a_look_at_the_loss_scale(self, copied):
        training = Training()
        training.backward()
        assert float(training.watch.scale_in_gradients()) == SCALE
        copied(training.scaler)


class TestLossScale:
    def test_is_one_before_anything_was_scaled(self):
        assert Training().watch.loss_scale() == 1.0

    def test_is_the_scalers_own_tensor_from_then_on(self):
        training = Training()
        training.step(math.inf)
        assert training.watch.loss_scale() is training.scaler._scale
        assert training.watch.loss_scale().item() == SCALE / 2

    def test_is_in_the_gradients_until_they_are_unscaled(self):
        training = Training()
        assert training.watch.scale_in_gradients() == 1.0
        training.backward()
        assert float(training.watch.scale_in_gradients()) == SCALE
        training.scaler.unscale_(training.optimizer)
        assert training.watch.scale_in_gradients() == 1.0
        training.scaler.step(training.optimizer)
        assert training.watch.scale_in_gradients() == 1.0


class TestWhatNeedsNoWatching:
    def test_a_disabled_scaler(self):
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        before = dict(vars(scaler))
        training = Training(scaler=scaler)
        assert vars(scaler) == before
        training.step()
        assert training.norms == pytest.approx([0.5])
        assert training.watch.loss_scale() == 1.0
        training.watch.close()

    def test_a_loop_that_clips_in_the_open(self):
        scaler = torch.amp.GradScaler("cpu")
        before = dict(vars(scaler))
        ScalerWatch(scaler, Training().optimizer)
        assert vars(scaler) == before

    @pytest.mark.parametrize("no_scaler", [object(), 65536.0, torch.ones(())])
    def test_what_is_no_scaler_is_refused(self, no_scaler):
        with pytest.raises(ConfigurationError, match=r"must be a torch\.amp\.GradScaler"):
            ScalerWatch(no_scaler, Training().optimizer)


class TestScaledNorms:
    def asked(self, *norms: float) -> list[bool]:
        scaled_norms = ScaledNorms()
        return [scaled_norms.begin_with(norm) for norm in norms]

    def test_ask_once_after_eight_that_only_a_loss_scale_makes(self):
        assert self.asked(*[30_000.0] * 10) == [False] * 7 + [True] + [False] * 2
        assert FIRST_NORMS == 8

    def test_do_not_ask_when_one_of_them_is_ordinary(self):
        assert not any(self.asked(*[30_000.0] * 7, 16_000.0, *[30_000.0] * 20))

    def test_do_not_count_the_overflows_that_a_scaler_begins_with(self):
        assert self.asked(math.inf, math.nan, *[30_000.0] * 8) == [False] * 9 + [True]

    def test_are_settled_then(self):
        scaled_norms = ScaledNorms()
        assert not scaled_norms.settled
        scaled_norms.begin_with(1.0)
        assert scaled_norms.settled
