"""Charts may lose detail, never a spike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradvitals_service.series.downsample import Buckets, Column, Extremes, bucket_size, bucket_starts, downsample


def column(*values: float | None) -> Column:
    """A column in which None is a value that was never logged."""
    return Column(
        np.array([0.0 if value is None else value for value in values]),
        np.array([value is not None for value in values]),
    )


def only(values: Column, points: int):
    """The buckets of a single metric over steps 0, 1, 2, ..."""
    return downsample(np.arange(len(values.values)), {"global_norm": values}, points).series["global_norm"]


class TestBucketSize:
    @pytest.mark.parametrize(
        ("frames", "points", "size"), [(0, 10, 1), (10, 10, 1), (11, 10, 2), (1_000_000, 1000, 1000)]
    )
    def test_is_the_smallest_that_fits(self, frames, points, size):
        assert bucket_size(frames, points) == size


class TestDownsample:
    def test_every_frame_is_its_own_bucket_when_there_are_points_enough(self):
        buckets = only(column(1.0, 2.0, 3.0), points=3)
        assert buckets.minimum.tolist() == buckets.maximum.tolist() == buckets.mean.tolist() == [1.0, 2.0, 3.0]

    def test_a_bucket_tells_its_first_step_also_where_steps_are_missing(self):
        result = downsample(np.array([5, 6, 20, 21, 22]), {}, points=3)
        assert (result.size, result.step.tolist()) == (2, [5, 20, 22])

    def test_a_spike_of_one_frame_survives_in_a_bucket_of_thousands(self):
        values = np.ones(100_000)
        values[54_321] = 1e9
        buckets = only(Column(values, np.ones(100_000, bool)), points=10)
        assert buckets.maximum.tolist() == [1.0] * 5 + [1e9] + [1.0] * 4
        assert buckets.minimum.tolist() == [1.0] * 10

    def test_non_finite_values_are_counted_and_touch_nothing_else(self):
        buckets = only(column(1.0, float("nan"), float("inf"), 3.0), points=1)
        assert (buckets.minimum[0], buckets.maximum[0], buckets.mean[0], buckets.non_finite[0]) == (1.0, 3.0, 2.0, 2)

    def test_a_bucket_without_a_finite_value_has_none(self):
        buckets = only(column(float("nan"), float("-inf"), 2.0, 4.0), points=2)
        assert np.isnan(buckets.minimum).tolist() == np.isnan(buckets.maximum).tolist() == [True, False]
        assert np.isnan(buckets.mean).tolist() == [True, False]
        assert buckets.non_finite.tolist() == [2, 0]

    def test_an_absent_value_is_not_a_non_finite_one(self):
        buckets = only(column(None, 2.0, None, None), points=2)
        assert buckets.non_finite.tolist() == [0, 0]
        assert buckets.mean[0] == 2.0
        assert np.isnan(buckets.mean[1])

    def test_the_mean_of_the_largest_numbers_does_not_overflow(self):
        assert only(column(1.7e308, 1.7e308), points=1).mean[0] == 1.7e308

    def test_nor_where_the_rounding_of_the_shares_would(self):
        largest = np.finfo(np.float64).max
        assert only(column(*[largest] * 31), points=3).mean.tolist() == [largest] * 3

    def test_no_frames_give_no_buckets(self):
        result = downsample(np.empty(0, np.int64), {"loss": column()}, points=10)
        assert result.step.tolist() == result.series["loss"].minimum.tolist() == []

    @settings(deadline=None)
    @given(
        values=hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(allow_subnormal=False)),
        points=st.integers(1, 70),
    )
    def test_agrees_with_python_bucket_by_bucket(self, values, points):
        buckets = only(Column(values, np.ones(len(values), bool)), points)
        size = bucket_size(len(values), points)
        for index, start in enumerate(range(0, len(values), size)):
            bucket = values[start : start + size].tolist()
            finite = [value for value in bucket if np.isfinite(value)]
            assert buckets.non_finite[index] == len(bucket) - len(finite)
            if finite:
                assert buckets.minimum[index] == min(finite)
                assert buckets.maximum[index] == max(finite)
                assert min(finite) <= buckets.mean[index] <= max(finite)
            else:
                assert np.isnan(buckets.mean[index])


class TestExtremes:
    @settings(deadline=None)
    @given(
        parts=st.lists(
            hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(1, 9)), elements=st.floats(width=32)),
            min_size=1,
            max_size=6,
        ),
        size=st.integers(1, 12),
        pick=st.sampled_from([np.fmax, np.fmin]),
    )
    def test_are_those_of_all_buckets_however_the_frames_came(self, parts, size, pick):
        starts = bucket_starts(np.ones(sum(part.shape[1] for part in parts), np.int64), size)
        every = Buckets.merge([Buckets.of_frames(part) for part in parts], starts)
        extremes = Extremes.merge([Extremes.of_frames(part, pick) for part in parts], starts)
        expected = every.maximum if pick is np.fmax else every.minimum
        np.testing.assert_array_equal(extremes.values, expected)
        np.testing.assert_array_equal(extremes.non_finite, every.non_finite)

    def test_of_a_layer_that_is_not_there_are_absent_and_not_non_finite(self):
        found = Extremes.of_frames(np.array([[1.0, 2.0], [3.0, np.inf]], np.float32), np.fmax).rows(np.array([1, -1]))
        np.testing.assert_array_equal(found.values, [[3.0, np.nan], [np.nan, np.nan]])
        assert found.non_finite.tolist() == [[0, 1], [0, 0]]
