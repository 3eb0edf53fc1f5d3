"""How a run stands, in the words that people see."""

from datetime import UTC, datetime, timedelta

import pytest

from gradvitals_service.runs.standing import CALM, CRITICAL, WARNING, health_of, moment, patience, state_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=1)


class TestMoment:
    def test_a_run_is_silent_after_thirty_seconds(self):
        assert moment(NOON, LONG_AGO).silent_before == NOON - timedelta(seconds=30)

    @pytest.mark.parametrize(("running_for", "accuses"), [(0, False), (29, False), (30, True)])
    def test_a_service_that_has_just_started_accuses_nobody(self, running_for, accuses):
        silent_before = moment(NOON, NOON - timedelta(seconds=running_for)).silent_before
        assert (silent_before > LONG_AGO) is accuses

    @pytest.mark.parametrize(("running_for", "accuses"), [(0, False), (899, False), (900, True)])
    def test_a_step_is_overdue_only_for_a_service_that_could_have_heard_of_it(self, running_for, accuses):
        due_before = moment(NOON, NOON - timedelta(seconds=running_for)).due_before
        assert (due_before == NOON) is accuses


class TestPatience:
    def test_is_three_times_the_longest_gap_and_a_quarter_of_an_hour_at_least(self):
        assert patience(longest_gap_seconds=0.5) == timedelta(minutes=15)
        assert patience(longest_gap_seconds=600) == timedelta(minutes=30)


class TestStateOf:
    @pytest.mark.parametrize("declared", ["running", "paused"])
    def test_a_run_that_goes_on_is_unreachable_once_it_is_silent(self, declared):
        assert state_of(declared, silent=False, overdue=False) == declared
        assert state_of(declared, silent=True, overdue=True) == "unreachable"

    @pytest.mark.parametrize("declared", ["finished", "failed"])
    def test_a_run_that_has_ended_may_be_silent(self, declared):
        assert state_of(declared, silent=True, overdue=True) == declared

    def test_only_a_run_that_says_that_it_runs_can_hang(self):
        assert state_of("running", silent=False, overdue=True) == "hung"
        assert state_of("paused", silent=False, overdue=True) == "paused"


class TestHealthOf:
    def test_the_worst_open_event_decides(self):
        assert health_of(CRITICAL, has_frames=True, already_clipped=False) == "critical"
        assert health_of(WARNING, has_frames=True, already_clipped=False) == "warning"
        assert health_of(CALM, has_frames=True, already_clipped=False) == "healthy"

    def test_nothing_is_known_before_the_first_frame(self):
        assert health_of(CALM, has_frames=False, already_clipped=False) == "unknown"

    def test_gradients_that_were_clipped_before_us_cannot_be_called_healthy(self):
        assert health_of(CALM, has_frames=True, already_clipped=True) == "not_measurable"
        assert health_of(WARNING, has_frames=True, already_clipped=True) == "warning"
