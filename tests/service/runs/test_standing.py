"""How a run stands, in the words that people see."""

from datetime import UTC, datetime, timedelta

import pytest

from gradvitals_service.runs.standing import CALM, CRITICAL, WARNING, health_of, moment, state_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=1)


class TestMoment:
    def test_a_run_is_silent_after_thirty_seconds(self):
        assert moment(NOON, LONG_AGO).silent_before == NOON - timedelta(seconds=30)

    @pytest.mark.parametrize(("running_for", "accuses"), [(0, False), (29, False), (30, True)])
    def test_a_service_that_has_just_started_accuses_nobody(self, running_for, accuses):
        silent_before = moment(NOON, NOON - timedelta(seconds=running_for)).silent_before
        assert (silent_before > LONG_AGO) is accuses


class TestStateOf:
    @pytest.mark.parametrize("declared", ["running", "paused"])
    def test_a_run_that_goes_on_is_unreachable_once_it_is_silent(self, declared):
        assert state_of(declared, silent=False) == declared
        assert state_of(declared, silent=True) == "unreachable"

    @pytest.mark.parametrize("declared", ["finished", "failed"])
    def test_a_run_that_has_ended_may_be_silent(self, declared):
        assert state_of(declared, silent=True) == declared


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
