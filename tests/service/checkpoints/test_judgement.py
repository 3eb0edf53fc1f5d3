"""Which checkpoints are clean, by hand-made histories. A checkpoint of step 100 contains the steps 0 to 99."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from gradvitals_service.checkpoints.judgement import Damage, Launch, choose, judge
from gradvitals_service.checkpoints.models import Checkpoint

FIRST, SECOND, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)
ALONE = [Launch(FIRST, 0)]


def checkpoint(step: int, *, launch: UUID = FIRST, clean: bool | None = None, **steps: int) -> tuple[Checkpoint, UUID]:
    """A checkpoint of the launch's one attempt, which has the launch's id."""
    saved_at = datetime.fromtimestamp(step, UTC)
    values: dict[str, Any] = {"attempt_id": launch, "path": f"/{step}.pt", "step": step, "steps": steps}
    return Checkpoint(**values, saved_at=saved_at, reported_clean=clean), launch


def non_finite(step: int, launch: UUID = FIRST, monitor: str = "main") -> Damage:
    return Damage(launch, launch, monitor, "non_finite", step, None)


def explosion(step: int, end_step: int | None = None, launch: UUID = FIRST) -> Damage:
    return Damage(launch, launch, "main", "explosion", step, end_step)


def clean_steps(checkpoints: list[tuple[Checkpoint, UUID]], *damages: Damage, launches: Any = ALONE) -> list[int]:
    """The steps of the clean ones, newest first."""
    return [standing.checkpoint.step for standing in judge(checkpoints, launches, damages) if standing.clean]


class TestNonFinite:
    """A NaN that reached the weights spoils what was saved after it."""

    def test_a_checkpoint_that_contains_the_step_is_not_clean(self):
        assert clean_steps([checkpoint(100), checkpoint(101)], non_finite(100)) == [100]

    def test_it_never_becomes_clean_again(self):
        assert clean_steps([checkpoint(9000)], non_finite(100)) == []

    def test_the_client_knows_best_which_of_its_own_steps_were_skipped(self):
        assert clean_steps([checkpoint(200, clean=True), checkpoint(300)], non_finite(100)) == [200]

    def test_the_client_may_have_seen_what_never_arrived(self):
        assert clean_steps([checkpoint(200, clean=False)]) == []

    def test_each_monitor_counts_its_own_steps(self):
        gan = [checkpoint(100, main=100, critic=500), checkpoint(110, main=110, critic=550)]
        assert clean_steps(gan, non_finite(520, monitor="critic")) == [100]


class TestExplosion:
    """The alarm may come up to 12 steps after the step that did the harm."""

    def test_what_was_saved_since_is_not_clean_while_it_goes_on(self):
        checkpoints = [checkpoint(step) for step in (1900, 2100, 5000)]
        assert clean_steps(checkpoints, explosion(2041)) == [1900]

    def test_the_steps_just_before_the_alarm_are_suspect(self):
        assert clean_steps([checkpoint(2029), checkpoint(2030)], explosion(2041)) == [2029]

    def test_what_was_saved_after_its_end_is_clean(self):
        inside, after = checkpoint(2061), checkpoint(2062)
        assert clean_steps([inside, after], explosion(2041, end_step=2060)) == [2062]

    def test_the_clients_word_that_all_was_finite_does_not_count_here(self):
        assert clean_steps([checkpoint(2100, clean=True)], explosion(2041)) == []


class TestResumes:
    """What happened in a stretch that a resume left behind does not count."""

    def test_a_resume_from_before_the_trouble_is_clean(self):
        launches = [Launch(FIRST, 0), Launch(SECOND, 1900)]
        checkpoints = [checkpoint(2100), checkpoint(2200, launch=SECOND)]
        assert clean_steps(checkpoints, non_finite(2041), launches=launches) == [2200]

    def test_a_resume_from_after_the_trouble_inherits_it(self):
        launches = [Launch(FIRST, 0), Launch(SECOND, 2100)]
        assert clean_steps([checkpoint(2200, launch=SECOND, clean=True)], non_finite(2041), launches=launches) == []

    def test_a_second_resume_may_leave_the_first_ones_trouble_behind(self):
        launches = [Launch(FIRST, 0), Launch(SECOND, 1900), Launch(THIRD, 1950)]
        checkpoints = [checkpoint(2200, launch=THIRD)]
        assert clean_steps(checkpoints, non_finite(2000, SECOND), launches=launches) == [2200]
        assert clean_steps(checkpoints, non_finite(1940, SECOND), launches=launches) == []
        assert clean_steps(checkpoints, non_finite(1920), launches=launches) == [2200]

    def test_a_start_from_scratch_inherits_nothing(self):
        launches = [Launch(FIRST, 0), Launch(SECOND, 0)]
        assert clean_steps([checkpoint(3000, launch=SECOND)], non_finite(5), launches=launches) == [3000]

    def test_what_a_later_launch_did_is_nothing_to_an_earlier_one(self):
        launches = [Launch(FIRST, 0), Launch(SECOND, 100)]
        assert clean_steps([checkpoint(500)], non_finite(200, SECOND), launches=launches) == [500]


class TestChoosing:
    """Which one to resume from."""

    def test_the_newest_clean_one_and_how_many_are_newer(self):
        checkpoints = [checkpoint(step) for step in (1800, 1900, 2100, 2200)]
        resume = choose(judge(checkpoints, ALONE, [non_finite(2041)]))
        assert resume is not None
        assert resume.newest_clean is not None
        assert (resume.newest_clean.step, resume.not_clean) == (1900, 2)

    def test_a_later_launch_is_newer_whatever_its_steps(self):
        launches = [Launch(FIRST, 0), Launch(SECOND, 1900)]
        resume = choose(judge([checkpoint(2000), checkpoint(1950, launch=SECOND)], launches, []))
        assert resume is not None
        assert resume.newest_clean is not None
        assert resume.newest_clean.step == 1950

    @pytest.mark.parametrize(("known", "not_clean"), [([2100, 2200], 2), ([], None)])
    def test_there_may_be_none(self, known, not_clean):
        resume = choose(judge([checkpoint(step) for step in known], ALONE, [non_finite(0)]))
        assert (resume.newest_clean, resume.not_clean) == (None, not_clean) if resume else not_clean is None
