"""What a project may choose: one word for sensitivity, kinds on or off, layers left out."""

import math

import numpy as np
import pytest
from service.health.detectors.streams import SEAM, flat_loss, healthy, judge, kinds, make_frames

from gradvitals_service.health.detectors import NORMAL, SENSITIVITIES, Detectors, EventUpdate, Frames, Options
from gradvitals_service.health.detectors.explosion import UNHEARD_OF
from gradvitals_service.health.detectors.options import DISTANCES
from gradvitals_service.health.detectors.vanishing import FALLEN, RECOVERED

N = 400


def spike(times: float) -> Frames:
    """A thousand quiet frames, of which one has a norm so many times the usual."""
    norms = healthy(1000, spread=0.05)
    norms[900] *= times
    return make_frames(norms, loss=flat_loss(1000))


def broken(at: int, n: int = N) -> Frames:
    norms = healthy(n)
    norms[at, 1] = math.nan
    return make_frames(norms, loss=flat_loss(n))


class TestSensitivity:
    """Distances on the log scale are 3/4, once or 4/3 of what they are: 13, 30 or 93 times the usual."""

    @pytest.mark.parametrize(("times", "heard_by"), [(20, ["keen"]), (60, ["normal", "keen"]), (150, SENSITIVITIES)])
    def test_says_how_far_a_lone_spike_must_stand_out(self, times, heard_by):
        heard = [word for word in SENSITIVITIES if judge(spike(times), Detectors(3, options=Options(word)))]
        assert heard == list(heard_by)

    @pytest.mark.parametrize(("share", "heard_by"), [(20, ["keen"]), (60, ["normal", "keen"]), (300, SENSITIVITIES)])
    def test_says_how_far_a_layer_must_fall(self, share, heard_by):
        norms = healthy(N)
        norms[200:, 1] /= share
        frames = make_frames(norms, loss=flat_loss(N))
        told = {word: judge(frames, Detectors(3, options=Options(word))) for word in SENSITIVITIES}
        assert [word for word in SENSITIVITIES if told[word]] == list(heard_by)
        limit = {"calm": "1/93", "normal": "1/30", "keen": "1/13"}
        assert all(f"less than {limit[word]} of their usual" in told[word][0].message for word in heard_by)

    def test_says_nothing_about_what_is_not_finite(self):
        told = [judge(broken(300), Detectors(3, options=Options(word))) for word in SENSITIVITIES]
        assert told[0] == told[1] == told[2]
        assert kinds(told[0]) == ["non_finite"]

    def test_of_no_word_lets_a_layer_be_fallen_and_recovered_at_once(self):
        assert all(distance * FALLEN > RECOVERED for distance in DISTANCES.values())
        assert DISTANCES["calm"] * UNHEARD_OF > UNHEARD_OF > DISTANCES["keen"] * UNHEARD_OF


class TestAKindThatIsOff:
    OFF = Options(off=frozenset({"explosion"}))

    def test_is_not_told(self):
        assert kinds(judge(spike(1e4))) == ["explosion"]
        assert judge(spike(1e4), Detectors(3, options=self.OFF)) == []

    def test_hides_no_other_one(self):
        assert kinds(judge(broken(300), Detectors(3, options=self.OFF))) == ["non_finite"]

    def switched_on(self, frames: Frames, at: int) -> list[EventUpdate]:
        detectors = Detectors(3, options=self.OFF)
        told = detectors.observe(frames.rows(0, at))
        assert detectors.follow(NORMAL, None, at)
        return told + detectors.observe(frames.rows(at, N))

    def test_tells_once_it_is_on_of_what_begins_then(self):
        norms = healthy(N)
        norms[100] *= 1e4
        norms[300] *= 1e4
        (event,) = self.switched_on(make_frames(norms, loss=flat_loss(N)), 200)
        assert event.start_step == 300

    def test_tells_nothing_of_what_had_begun_before_it_was_on(self):
        norms = healthy(N)
        norms[190:210] *= 1e4
        assert self.switched_on(make_frames(norms, loss=flat_loss(N)), 200) == []

    def test_is_told_again_from_the_first_frame_of_a_new_attempt_whose_frames_are_counted_anew(self):
        detectors = Detectors(3, options=self.OFF)
        detectors.observe(make_frames(healthy(N), loss=flat_loss(N)))
        detectors.follow(NORMAL, None, N)
        norms = healthy(N)
        norms[300] *= 1e4
        again = make_frames(norms, loss=flat_loss(N), flags=np.where(np.arange(N) == 0, SEAM, 0))
        assert kinds(detectors.observe(again)) == ["explosion"]


class TestAnIgnoredGroup:
    IGNORED = (False, True, False)

    def ignoring(self) -> Detectors:
        return Detectors(3, ignored=self.IGNORED)

    def test_is_never_vanishing(self):
        norms = healthy(N)
        norms[200:, 1] = 0.0
        frames = make_frames(norms, loss=flat_loss(N))
        assert kinds(judge(frames)) == ["vanishing"]
        assert judge(frames, self.ignoring()) == []

    def test_is_not_named_though_the_global_norm_is_of_all(self):
        norms = healthy(N)
        norms[300, 1] *= 1e4
        frames = make_frames(norms, loss=flat_loss(N))
        (named,), (unnamed,) = judge(frames), judge(frames, self.ignoring())
        assert (named.groups, unnamed.groups) == ((1,), ())
        assert unnamed.peak == named.peak

    def test_is_not_named_as_broken_either(self):
        (event,) = judge(broken(300), self.ignoring())
        assert (event.kind, event.groups) == ("non_finite", ())

    def test_must_be_told_of_each(self):
        with pytest.raises(ValueError, match="ignored must have one entry for each of 3 groups"):
            Detectors(3, ignored=[True])


def test_following_what_holds_already_is_no_change():
    options = Options("keen", frozenset({"vanishing"}))
    detectors = Detectors(3, options=options, ignored=(True, False, False))
    assert not detectors.follow(options, (True, False, False), 100)
    assert detectors.follow(options, (False, False, False), 100)


class TestGlobs:
    def test_meet_names_of_tensors_and_of_modules(self):
        options = Options(ignore=("embed*", "*.bias", "head.[0-9]"))
        assert options.ignores("embedding.weight")
        assert options.ignores("decoder.bias", "decoder")
        assert options.ignores("head.0.weight", "head.0")
        assert not options.ignores("decoder.weight", "decoder")
        assert not options.ignores("Embedding.weight")  # capitals count

    def test_of_nobody_ignore_nothing(self):
        assert not NORMAL.ignores("", "encoder")


def test_a_change_turns_kinds_off_and_on_and_adds_and_removes_globs():
    options = NORMAL.changed("calm", off=["vanishing", "explosion"], ignore=["a*", "b*"])
    assert options == Options("calm", frozenset({"vanishing", "explosion"}), ("a*", "b*"))
    assert options.changed(on=["explosion"], ignore=["b*"], heed=["a*"]) == Options(
        "calm", frozenset({"vanishing"}), ("b*",)
    )
