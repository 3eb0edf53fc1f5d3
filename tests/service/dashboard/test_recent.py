"""What was told in the last seconds, whole or not at all."""

from gradvitals_service.dashboard.recent import Recent


def frames(rows: int) -> dict:
    """A message of so many frames."""
    return {"type": "frames", "columns": {"step": range(rows)}}


class TestRecent:
    def test_gives_what_came_after_a_moment_in_order(self):
        recent = Recent(began=0.0)
        messages = [{"type": "event", "number": number} for number in range(3)]
        for at, message in enumerate(messages, start=1):
            recent.keep(message, float(at))
        assert recent.since(2.0) == messages[1:]
        assert recent.since(3.5) == []

    def test_knows_nothing_of_the_time_before_it_began(self):
        assert Recent(began=5.0).since(4.0) is None

    def test_gives_up_what_is_old(self):
        recent = Recent(began=0.0, seconds_kept=10.0)
        for at in (1.0, 5.0, 12.0):
            recent.keep({"type": "event"}, at)
        assert recent.since(0.5) is None
        assert len(recent.since(4.0) or []) == 2

    def test_counts_frames_by_their_rows(self):
        recent = Recent(began=0.0, most_rows=100)
        recent.keep(frames(60), 1.0)
        recent.keep(frames(40), 2.0)
        assert len(recent.since(0.5) or []) == 2
        recent.keep(frames(1), 3.0)
        assert recent.since(0.5) is None
        recent.keep(frames(101), 4.0)
        assert recent.since(4.5) == []
