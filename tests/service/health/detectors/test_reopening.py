"""An event that comes back within its kind's window is the same event, and after it another one."""

import math

import numpy as np
from service.health.detectors.streams import SEAM, SKIPPED_STEP, flat_loss, healthy, judge, make_frames

from gradvitals_service.health.detectors import Detectors, EventUpdate
from gradvitals_service.health.detectors.episode import Episode
from gradvitals_service.health.detectors.reopening import Reopening

N = 600


def episode(frame: int, severity: str = "warning", peak: float = math.nan) -> Episode:
    return Episode(frame, 10 * frame, 10 * frame, severity, (frame,), peak, usual=peak / 10.0, told_peak=peak)


class TestReopening:
    """The window is 5 frames, and the event was over at frame 20."""

    def came_back(self, again: Episode) -> Episode:
        reopening = Reopening(within=5)
        reopening.resolve(episode(3, peak=100.0), frame=20)
        return reopening.open(again)

    def test_the_last_frame_of_the_window_still_belongs_to_the_event(self):
        assert self.came_back(episode(25)).start_frame == 3
        assert self.came_back(episode(26)).start_frame == 26

    def test_the_start_and_the_usual_stay_and_the_worst_counts(self):
        again = self.came_back(episode(22, "critical", peak=500.0))
        assert (again.start_step, again.last_step, again.severity) == (30, 220, "critical")
        assert (again.peak, again.usual, again.groups) == (500.0, 10.0, (22,))

    def test_a_milder_return_leaves_severity_peak_and_groups_as_they_were(self):
        again = self.came_back(episode(22, "info", peak=50.0))
        assert (again.severity, again.peak, again.groups) == ("warning", 100.0, (3,))

    def test_it_says_how_often_it_came_back(self):
        again = self.came_back(episode(22))
        assert again.update("explosion", "open", "boom").message == "boom; it has come back once"

    def test_after_a_seam_nothing_from_before_comes_back(self):
        closed_before, open_before = Reopening(within=5), Reopening(within=5)
        closed_before.resolve(episode(3), frame=20)
        closed_before.seam(None)
        open_before.seam(episode(3))
        open_before.resolve(episode(3), frame=20)
        for reopening in (closed_before, open_before):
            assert reopening.open(episode(22)).start_frame == 22


def one_by_one(frames) -> list[EventUpdate]:
    """Every word that is said, not only the last of a block."""
    detectors = Detectors(frames.group_norms.shape[1])
    return [update for row in range(len(frames)) for update in detectors.observe(frames.rows(row, row + 1))]


def test_an_explosion_that_returns_is_open_again_under_its_first_frame_and_has_no_end():
    norms = healthy(N)
    norms[300] *= 1e3
    norms[380] *= 1e5  # resolved after frame 332, so within 64 frames
    told = one_by_one(make_frames(norms))
    assert [(update.start_frame, update.status, update.end_step) for update in told] == [
        (300, "open", None),
        (300, "resolved", 300),
        (300, "open", None),
        (300, "resolved", 380),
    ]
    assert told[-1].message.endswith("; it has come back once")


def test_vanishing_that_returns_is_one_event():
    norms = healthy(N)
    norms[200:260, 0] *= 1e-4
    norms[320:400, 0] *= 1e-4
    (event,) = judge(make_frames(norms, loss=flat_loss(N)))
    assert (event.kind, event.status) == ("vanishing", "resolved")
    assert 200 <= event.start_step < 260
    assert event.end_step is not None
    assert event.end_step > 390


def test_a_non_finite_gradient_that_returns_counts_on_and_may_become_critical():
    norms, flags = healthy(N), np.zeros(N, np.uint32)
    norms[[100, 130], 0] = math.inf  # the first was skipped and is over at 120
    flags[100] = SKIPPED_STEP
    (event,) = judge(make_frames(norms, flags=flags))
    assert (event.start_step, event.end_step, event.severity) == (100, 130, "critical")
    assert "after 2 bad steps" in event.message


def test_an_event_that_a_new_attempt_inherited_does_not_come_back_there():
    norms, flags = healthy(N), np.zeros(N, np.uint32)
    norms[[300, 340], 0] = math.nan
    flags[310] = SEAM
    events = judge(make_frames(norms, flags=flags))
    assert [event.start_step for event in events] == [300, 340]
