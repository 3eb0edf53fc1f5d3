"""A sketch of norms counts them by size, exactly at every number of three significant digits."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradvitals_service.series.codec import CorruptChunkError
from gradvitals_service.series.flags import ALREADY_CLIPPED
from gradvitals_service.series.sketch import NormSketch, edges

few = settings(max_examples=40)
any_norms = st.lists(st.floats(width=32, min_value=0.0) | st.sampled_from([math.nan, math.inf]), max_size=60)
three_digits = st.builds(
    lambda digits, exponent: float(f"{digits}e{exponent}"), st.integers(100, 999), st.integers(-45, 35)
)


def sketch(norms, frame_flags=None) -> NormSketch:
    norms = np.array(norms, np.float32)
    return NormSketch.of(norms, np.zeros(len(norms), np.uint32) if frame_flags is None else np.array(frame_flags))


def content(of: NormSketch) -> tuple:
    return of.buckets.tolist(), of.counts.tolist(), of.zeros, of.non_finite, of.already_clipped


class TestCountsAbove:
    @few
    @given(any_norms, three_digits)
    def test_a_threshold_of_three_digits_are_exact(self, norms, max_norm):
        exact = sum(math.isfinite(norm) and norm > max_norm for norm in norms)
        assert sketch(norms).above(max_norm) == (exact, exact)

    @few
    @given(any_norms, st.floats(min_value=1e-45, max_value=1e39))
    def test_any_threshold_lie_between_two_exact_counts(self, norms, max_norm):
        exact = sum(math.isfinite(norm) and norm > max_norm for norm in norms)
        at_least, at_most = sketch(norms).above(max_norm)
        assert at_least <= exact <= at_most
        ends = edges()
        before, after = ends[ends <= max_norm], ends[ends >= max_norm]
        assert at_least == (sketch(norms).above(after[0])[0] if len(after) else 0)
        assert at_most == (sketch(norms).above(before[-1])[0] if len(before) else sketch(norms).counts.sum())

    def test_a_norm_equal_to_the_threshold_is_not_above_it(self):
        assert sketch([1.0, 2.5, 2.5, 2.51]).above(2.5) == (1, 1)

    def test_a_float32_is_compared_with_the_decimal_number(self):
        """0.1 is a little more as a float32: 0.100000001."""
        assert sketch([0.1]).above(0.1) == (1, 1)


class TestWhatIsNotASize:
    def test_is_counted_apart(self):
        some = sketch([1.0, 0.0, math.nan, math.inf, 1.0, math.nan], [0, 0, 0, 0, ALREADY_CLIPPED, ALREADY_CLIPPED])
        assert (some.measured, some.zeros, some.non_finite, some.already_clipped) == (2, 1, 3, 1)
        assert some.above(0.5) == (1, 1)


class TestMerging:
    @few
    @given(any_norms, st.lists(st.integers(0, 60), max_size=4))
    def test_gives_the_sketch_of_the_whole_however_it_was_split(self, norms, cuts):
        places = sorted({0, *(min(cut, len(norms)) for cut in cuts), len(norms)})
        parts = [sketch(norms[start:stop]) for start, stop in pairwise(places)]
        assert content(NormSketch.merge(parts)) == content(sketch(norms))

    def test_of_nothing_is_empty(self):
        assert content(NormSketch.merge([])) == ([], [], 0, 0, 0)


class TestQuantile:
    def test_is_the_smallest_edge_that_leaves_no_more_above(self):
        norms = [1.0] * 50 + [2.0] * 49 + [3.0]
        assert [sketch(norms).quantile(share) for share in (0.5, 0.51, 0.99, 0.991)] == [1.0, 2.0, 2.0, 3.0]

    def test_is_zero_where_nearly_all_norms_are(self):
        assert sketch([0.0] * 99 + [5.0]).quantile(0.99) == 0.0
        assert NormSketch.none().quantile(0.5) == 0.0

    @few
    @given(any_norms.filter(bool), st.floats(0.5, 0.99))
    def test_leaves_at_most_its_share_above(self, norms, share):
        some = sketch(norms)
        quantile = some.quantile(share)
        above = sum(math.isfinite(norm) and norm > quantile for norm in norms)
        assert above <= (1 - share) * some.measured


class TestMeanClipCoefficient:
    @few
    @given(st.lists(st.floats(0.0625, 1024.0, width=32), min_size=1, max_size=50), st.floats(0.001, 1000.0))
    def test_is_that_of_the_norms_to_half_a_percent(self, norms, max_norm):
        exact = np.mean([min(1.0, max_norm / norm) for norm in norms])
        assert sketch(norms).mean_clip_coefficient(max_norm) == pytest.approx(exact, rel=0.0051)

    def test_of_no_frames_is_that_of_no_clip(self):
        assert NormSketch.none().mean_clip_coefficient(1.0) == 1.0


class TestBytes:
    @few
    @given(any_norms)
    def test_bring_it_back(self, norms):
        assert content(NormSketch.from_bytes(sketch(norms).to_bytes())) == content(sketch(norms))

    def test_that_have_changed_are_refused(self):
        blob = bytearray(sketch([1.0, 2.0, 3.0]).to_bytes())
        blob[-1] ^= 1
        with pytest.raises(CorruptChunkError):
            NormSketch.from_bytes(bytes(blob))

    def test_of_a_usual_segment_are_a_few_kilobytes_at_most(self):
        """Log-normal noise of a factor of e, which is much, in 16,384 frames whose own column is 64 KiB."""
        norms = np.exp(np.random.default_rng(0).normal(0.0, 1.0, 16_384))
        assert len(sketch(norms).to_bytes()) < 4096
