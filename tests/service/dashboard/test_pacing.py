"""A run's summary at most twice a second, and the last change always told."""

from gradvitals_service.dashboard.pacing import Pacer


class TestPacer:
    def test_tells_of_a_change_at_once(self):
        pacer = Pacer(seconds_between=0.5)
        pacer.note(["a"], now=10.0)
        assert pacer.take_due(10.0) == {"a": 10.0}
        assert pacer.take_due(10.0) == {}

    def test_holds_back_what_changes_again_too_soon(self):
        pacer = Pacer(seconds_between=0.5)
        pacer.note(["a"], now=10.0)
        pacer.take_due(10.0)
        pacer.note(["a"], now=10.1)
        assert pacer.take_due(10.49) == {}
        assert pacer.take_due(10.5) == {"a": 10.1}

    def test_says_when_the_last_of_several_changes_was_noticed(self):
        pacer = Pacer(seconds_between=0.5)
        pacer.note(["a"], now=10.0)
        pacer.take_due(10.0)
        pacer.note(["a"], now=10.1)
        pacer.note(["a"], now=10.3)
        assert pacer.take_due(10.5) == {"a": 10.3}

    def test_runs_do_not_hold_up_each_other(self):
        pacer = Pacer(seconds_between=0.5)
        pacer.note(["a"], now=10.0)
        pacer.take_due(10.0)
        pacer.note(["a", "b"], now=10.1)
        assert pacer.take_due(10.1) == {"b": 10.1}

    def test_knows_when_something_will_be_due(self):
        pacer = Pacer(seconds_between=0.5)
        assert pacer.seconds_to_next(10.0) is None
        pacer.note(["a"], now=10.0)
        assert pacer.seconds_to_next(10.0) == 0
        pacer.take_due(10.0)
        pacer.note(["a"], now=10.25)
        assert pacer.seconds_to_next(10.25) == 0.25
