"""The overview's small picture of a run, kept by the writer."""

import numpy as np
import pytest

from gradvitals_service.series.sparkline import MOST_BUCKETS, Sparkline


def observe(sparkline: Sparkline, first: int, *norms: float) -> None:
    """Add consecutive steps from ``first``."""
    sparkline.observe("main", np.arange(first, first + len(norms)), np.array(norms, np.float32))


class TestSparkline:
    def test_shows_every_frame_of_a_short_run(self):
        sparkline = Sparkline("main")
        observe(sparkline, 10, 1.0, 2.0, 3.0)
        assert sparkline.columns() == {
            "step": [10, 11, 12],
            "min": [1.0, 2.0, 3.0],
            "max": [1.0, 2.0, 3.0],
            "non_finite": [0, 0, 0],
        }

    def test_halves_its_buckets_when_they_are_used_up(self):
        sparkline = Sparkline("main")
        observe(sparkline, 0, *range(61))
        columns = sparkline.columns()
        assert columns["step"] == list(range(0, 61, 2))
        assert columns["min"] == list(range(0, 61, 2))
        assert columns["max"] == [*range(1, 61, 2), 60]

    def test_never_has_more_than_sixty_buckets_and_never_loses_a_spike(self):
        sparkline = Sparkline("main")
        norms = np.ones(100_000)
        norms[[3, 77_777]] = [500.0, 9000.0]
        for first in range(0, 100_000, 256):
            observe(sparkline, first, *norms[first : first + 256])
        maxima = sparkline.columns()["max"]
        assert len(maxima) <= MOST_BUCKETS
        assert sorted(maxima)[-2:] == [500.0, 9000.0]

    @pytest.mark.parametrize("chunk", [1, 7, 256])
    def test_is_the_same_however_the_frames_are_cut_into_chunks(self, chunk):
        norms = np.random.default_rng(0).lognormal(size=1000)
        whole, pieces = Sparkline("main"), Sparkline("main")
        observe(whole, 0, *norms)
        for first in range(0, 1000, chunk):
            observe(pieces, first, *norms[first : first + chunk])
        assert pieces == whole

    def test_counts_what_is_not_finite(self):
        sparkline = Sparkline("main")
        observe(sparkline, 0, float("nan"), float("inf"))
        columns = sparkline.columns()
        assert (columns["min"], columns["max"], columns["non_finite"]) == ([None, None], [None, None], [1, 1])

    def test_a_resume_replaces_what_came_after_its_first_step(self):
        sparkline = Sparkline("main")
        observe(sparkline, 0, 1.0, 2.0, 1000.0)
        observe(sparkline, 2, 3.0, 4.0)
        assert sparkline.columns()["step"] == [0, 1, 2, 3]
        assert sparkline.columns()["max"] == [1.0, 2.0, 3.0, 4.0]

    def test_another_monitor_leaves_it_alone(self):
        sparkline = Sparkline("main")
        sparkline.observe("main-2", np.array([0]), np.array([1.0]))
        assert sparkline.columns()["step"] == []

    def test_is_empty_where_nothing_is_stored_that_can_be_read(self):
        for stored in (None, b"", b"spoiled"):
            assert Sparkline.from_bytes(stored, "main") == Sparkline("main")

    def test_survives_storage(self):
        sparkline = Sparkline("main")
        observe(sparkline, 0, 1.0, float("nan"))
        assert Sparkline.from_bytes(sparkline.to_bytes()) == sparkline
