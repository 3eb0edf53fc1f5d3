"""One line of steps out of several attempts: the newest wins."""

from uuid import UUID

from gradvitals_service.series.attempts import Reach, Span, cut_overlaps

A, B, C = (UUID(int=number) for number in (1, 2, 3))


class TestCutOverlaps:
    def test_a_resume_takes_over_at_its_first_step(self):
        assert cut_overlaps([Reach(A, 0, 99), Reach(B, 60, 120)]) == [Span(A, 0, 60), Span(B, 60, None)]

    def test_a_resume_that_has_not_come_far_takes_over_all_the_same(self):
        assert cut_overlaps([Reach(A, 0, 99), Reach(B, 60, 61)]) == [Span(A, 0, 60), Span(B, 60, None)]

    def test_an_attempt_that_was_run_through_again_from_its_beginning_is_gone(self):
        assert cut_overlaps([Reach(A, 0, 99), Reach(B, 100, 200), Reach(C, 50, 60)]) == [
            Span(A, 0, 50),
            Span(C, 50, None),
        ]

    def test_a_start_from_scratch_replaces_everything(self):
        assert cut_overlaps([Reach(A, 0, 99), Reach(B, 0, 5)]) == [Span(B, 0, None)]

    def test_attempts_apart_from_each_other_both_stay(self):
        assert cut_overlaps([Reach(A, 0, 9), Reach(B, 20, 29)]) == [Span(A, 0, 20), Span(B, 20, None)]

    def test_no_attempt_gives_no_span(self):
        assert cut_overlaps([]) == []
