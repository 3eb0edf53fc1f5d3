"""Norms are those of a float64 reference, whatever the size, the dtype or the layout in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradvitals.cpu_norms import BLOCK, FEWEST_TOGETHER, LARGEST_TOGETHER, PLAIN, ROW, Plan, cpu_norms
from gradvitals.errors import ConfigurationError
from gradvitals.norms import as_norm_type, distinct, gradient_norms

SIZES = [1, 2, ROW, ROW + 1, LARGEST_TOGETHER + 1, PLAIN, PLAIN + 1, 20 * ROW, BLOCK, BLOCK + ROW + 5]
NORM_TYPES = [0.5, 1.0, 2.0, 3.0, math.inf]


def reference(values: torch.Tensor, norm_type: float = 2.0) -> float:
    """The norm as numpy finds it in double precision, in units of the largest element."""
    elements = np.abs(values.detach().to_dense().to(torch.float64).numpy().reshape(-1))
    largest = elements.max(initial=0.0)
    if norm_type == math.inf or largest == 0.0:
        return float(largest)
    return float(largest * ((elements / largest) ** norm_type).sum() ** (1 / norm_type))


def random(size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(size)).to(dtype)


class TestHandChecked:
    """Gradients (3,) and (4,)."""

    gradients = (torch.tensor([3.0]), torch.tensor([-4.0]))

    @pytest.mark.parametrize(("norm_type", "expected"), [(1, 7.0), (2, 5.0), (math.inf, 4.0), (3, 91 ** (1 / 3))])
    def test_the_global_norm_is_that_of_one_vector(self, norm_type, expected):
        assert gradient_norms(self.gradients, norm_type).global_norm == pytest.approx(expected, rel=1e-6)

    def test_each_layer_has_its_own_norm(self):
        assert gradient_norms(self.gradients).layer_norms == [3.0, 4.0]

    def test_a_missing_gradient_counts_as_zero_at_its_place(self):
        norms = gradient_norms([None, self.gradients[0], None, self.gradients[1]])
        assert norms.layer_norms == [0.0, 3.0, 0.0, 4.0]
        assert norms.global_norm == 5.0

    def test_an_empty_gradient_counts_as_zero(self):
        norms = gradient_norms([torch.zeros(0, 3), self.gradients[0]], math.inf)
        assert norms.layer_norms == [0.0, 3.0]

    @pytest.mark.parametrize("gradients", [[], [None, None], [torch.zeros(0)], [torch.zeros(5)]])
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_without_gradients_the_norm_is_zero(self, gradients, norm_type):
        norms = gradient_norms(gradients, norm_type)
        assert norms.global_norm == 0.0
        assert norms.layer_norms == [0.0] * len(gradients)

    def test_the_duplicates_of_a_sparse_gradient_are_added_up_first(self):
        sparse = torch.sparse_coo_tensor([[1, 1]], [1.0, 2.0], (5,), check_invariants=True)
        assert gradient_norms([sparse]).layer_norms == [3.0]

    def test_a_loss_scale_can_be_divided_out(self):
        norms = gradient_norms(self.gradients).divided_by(torch.tensor(2.0))
        assert norms.layer_norms == [1.5, 2.0]
        assert norms.global_norm == 2.5


DISTRIBUTIONS = {
    "normal": lambda normal: normal,
    "uniform": lambda normal: torch.distributions.Normal(0, 1).cdf(normal),
    "lognormal": lambda normal: normal.exp(),
    "cubed normal": lambda normal: normal**3,
    "sparse": lambda normal: normal * (normal > 2),  # one in 44
}


class TestPrecision:
    @pytest.mark.parametrize("of_normal", [pytest.param(make, id=name) for name, make in DISTRIBUTIONS.items()])
    @pytest.mark.parametrize("size", [*SIZES, 3_000_001])
    def test_the_2_norm_is_right_to_a_millionth_at_every_size(self, size, of_normal):
        values = of_normal(random(size))
        assert gradient_norms([values]).layer_norms[0] == pytest.approx(reference(values), rel=1e-6)

    @pytest.mark.parametrize("value", [0.1, 0.0137, 1 / 3])
    @pytest.mark.parametrize("size", [1, 100, ROW, PLAIN + 1, 1_000_003])
    def test_equal_elements_do_not_pile_up_their_rounding_errors(self, size, value):
        values = torch.full((size,), value)
        assert gradient_norms([values]).global_norm == pytest.approx(reference(values), rel=1e-6)

    def test_in_a_large_tensor_torchs_own_norm_piles_them_up(self):
        values = torch.full((1_000_003,), 0.1)
        assert abs(torch.linalg.vector_norm(values).item() / reference(values) - 1) > 1e-4

    @pytest.mark.parametrize("value", [0.1, 0.0137, 1 / 3])
    @pytest.mark.parametrize("size", [2 * ROW, LARGEST_TOGETHER, PLAIN])
    def test_up_to_16384_elements_the_norm_is_torchs_own_which_equal_elements_put_off_a_little(self, size, value):
        # The price of clipping bit for bit as torch does: for these elements 1.4e-5, and not 1e-6.
        values = torch.full((size,), value)
        norms = gradient_norms([values])
        assert norms.torchs
        assert norms.layer_norms == [torch.linalg.vector_norm(values).item()]
        assert norms.global_norm == pytest.approx(reference(values), rel=2e-5)

    @pytest.mark.parametrize(("size", "off"), [(100, 1e-6), (ROW, 4e-6), (PLAIN, 7e-5), (PLAIN + 1, 4e-6)])
    def test_the_worst_is_one_large_element_which_swallows_the_squares_that_are_added_to_it(self, size, off):
        values = torch.full((size,), 7.3e-4)
        values[0] = 1.0
        assert gradient_norms([values]).global_norm == pytest.approx(reference(values), rel=off)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_every_norm_type_is_right_at_every_size(self, size, norm_type):
        values = random(size)
        assert gradient_norms([values], norm_type).layer_norms[0] == pytest.approx(
            reference(values, norm_type), rel=1e-6
        )

    @pytest.mark.parametrize("norm_type", [0.5, 1.0, 3.0, math.inf])
    @pytest.mark.parametrize("size", SIZES)
    def test_equal_elements_put_no_other_norm_off(self, size, norm_type):
        values = torch.full((size,), 0.1)
        assert gradient_norms([values], norm_type).layer_norms[0] == pytest.approx(
            reference(values, norm_type), rel=1e-6
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_half_and_double_precision_are_measured_as_precisely(self, dtype, norm_type):
        values = [random(size, dtype) for size in (7, ROW, ROW + 1, PLAIN, 300 * ROW)]
        values += [torch.full((size,), 0.1, dtype=dtype) for size in (7, ROW, ROW + 1, PLAIN, 300 * ROW)]
        expected = [reference(value, norm_type) for value in values]
        assert gradient_norms(values, norm_type).layer_norms == pytest.approx(expected, rel=1e-6)

    def test_many_layers_of_mixed_sizes_and_dtypes_keep_their_places(self):
        dtypes = [torch.float32, torch.bfloat16, torch.float64]
        values = [random(1 + 997 * place % 9000, dtypes[place % 3]) for place in range(60)]
        expected = [reference(value) for value in values]
        norms = gradient_norms(values)
        assert norms.layer_norms == pytest.approx(expected, rel=1e-6)
        assert norms.global_norm == pytest.approx(math.sqrt(sum(e * e for e in expected)), rel=1e-6)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_the_order_in_memory_does_not_matter(self, norm_type):
        image = random(8 * 64 * 9 * 5).view(8, 64, 9, 5).to(memory_format=torch.channels_last)
        strided = random(6000).view(60, 100).t()[::2]
        expected = [reference(image, norm_type), reference(strided, norm_type)]
        assert gradient_norms([image, strided], norm_type).layer_norms == pytest.approx(expected, rel=1e-6)

    def test_complex_gradients_have_the_norm_of_their_absolute_values(self):
        assert gradient_norms([torch.tensor([3 + 4j])]).layer_norms == [5.0]

    def test_the_norm_of_small_tensors_is_torchs_bit_for_bit(self):
        values = [random(size) for size in (5, 300, 2000, LARGEST_TOGETHER + 1, PLAIN)]
        assert gradient_norms(values).torchs_global_norm() == torch.nn.utils.get_total_norm(values).item()


class TestRange:
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-19, 1e19, 1e30, 3e38])
    @pytest.mark.parametrize("size", [1, 3 * ROW + 7])
    def test_a_finite_gradient_has_a_finite_norm(self, norm_type, scale, size):
        values = torch.full((size,), scale)
        assert gradient_norms([values], norm_type).layer_norms[0] == pytest.approx(
            reference(values, norm_type), rel=1e-6
        )

    def test_the_global_norm_is_finite_where_it_exceeds_single_precision(self):
        norms = gradient_norms([torch.full((4,), 3e38)])
        assert norms.global_norm == pytest.approx(6e38)
        assert float(norms.torchs_global_norm()) == norms.global_norm

    def test_the_global_norm_is_finite_where_only_the_squares_of_the_layers_norms_overflow(self):
        norms = gradient_norms([torch.tensor(3e30), torch.tensor(4e30)])
        assert norms.layer_norms == [torch.tensor(3e30).item(), torch.tensor(4e30).item()]
        assert norms.global_norm == pytest.approx(5e30)
        assert float(norms.torchs_global_norm()) == norms.global_norm

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("value", [6e-8, 6e4])  # the smallest and the largest that float16 holds
    @pytest.mark.parametrize("size", [1, 100, 3 * ROW + 7])
    def test_half_precision_may_use_its_whole_range(self, dtype, value, size):
        values = torch.full((size,), value, dtype=dtype)
        assert gradient_norms([values]).global_norm == pytest.approx(reference(values), rel=1e-6)

    def test_layers_whose_squares_leave_the_range_leave_the_others_alone(self):
        values = [random(30) for _ in range(20)]
        values[7] = values[7] * 1e30
        values[11] = values[11] * 1e-30
        assert gradient_norms(values).layer_norms == pytest.approx([reference(value) for value in values], rel=1e-6)

    def test_double_precision_may_use_its_whole_range(self):
        values = torch.tensor([3e200, 4e200], dtype=torch.float64)
        assert gradient_norms([values]).global_norm == pytest.approx(5e200)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("size", [3, 3 * ROW + 7])
    @pytest.mark.parametrize("bad", [[math.nan], [math.inf], [-math.inf], [math.inf, math.nan]])
    def test_what_is_not_finite_is_what_torch_says(self, norm_type, size, bad):
        values = torch.ones(size)
        values[: len(bad)] = torch.tensor(bad)
        norms = gradient_norms([torch.ones(2), values], norm_type)
        torchs = torch.linalg.vector_norm(values, norm_type).item()
        assert norms.layer_norms[0] == pytest.approx(2 ** (1 / norm_type))
        assert norms.layer_norms[1] == pytest.approx(torchs, nan_ok=True)
        assert norms.global_norm == pytest.approx(torchs, nan_ok=True)


class TestManyOfOneShape:
    """From eight on they are copied together and measured in one call, where nobody can tell."""

    shapes = ((), (1,), (7,), (30, 40), (LARGEST_TOGETHER,), (3, 2, 5))

    def many(self, shape, count=3 * FEWEST_TOGETHER) -> list[torch.Tensor]:
        return [random(math.prod(shape)).view(shape) * (1 + place) for place in range(count)]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("shape", shapes)
    def test_each_has_its_own_norm(self, shape, dtype):
        values = [value.to(dtype) for value in self.many(shape)]
        expected = [reference(value) for value in values]
        assert gradient_norms(values).layer_norms == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("shape", shapes)
    def test_which_is_torchs_bit_for_bit(self, shape):
        values = self.many(shape)
        norms = gradient_norms(values)
        assert norms.torchs
        assert norms.layer_norms == [torch.linalg.vector_norm(value).item() for value in values]
        assert norms.torchs_global_norm() == torch.nn.utils.get_total_norm(values).item()

    def test_more_than_fit_into_the_cache_are_copied_in_several_parts(self):
        values = self.many((LARGEST_TOGETHER,), count=2 * BLOCK // LARGEST_TOGETHER + 3)
        assert len(Plan.of(values).together) == 3
        assert gradient_norms(values).layer_norms == [torch.linalg.vector_norm(value).item() for value in values]

    def test_a_mixture_of_sizes_keeps_its_order(self):
        values = [random(size) * (1 + size) for size in [5, 9000, 40_000, 5, 1] * FEWEST_TOGETHER]
        assert gradient_norms(values).layer_norms == pytest.approx([reference(value) for value in values], rel=1e-6)

    def test_those_that_are_not_contiguous_may_be_among_them(self):
        values = [random(60 * 40).view(60, 40) for _ in range(FEWEST_TOGETHER)]
        values += [random(40 * 60).view(40, 60).t() for _ in range(FEWEST_TOGETHER)]
        values += [random(120 * 80).view(120, 80)[::2, ::2], torch.tensor(3.0).expand(60, 40)]
        assert gradient_norms(values).layer_norms == pytest.approx([reference(value) for value in values], rel=1e-6)

    def test_one_that_is_not_finite_spoils_none_of_the_others(self):
        values = self.many((7,))
        values[3][0], values[5][1] = math.nan, -math.inf
        norms = gradient_norms(values).layer_norms
        assert math.isnan(norms.pop(3))
        assert norms.pop(4) == math.inf
        assert norms == pytest.approx([reference(value) for value in values[:3] + values[4:5] + values[6:]], rel=1e-6)

    def test_a_plan_may_be_used_again_for_other_values(self):
        plan = Plan.of(self.many((7,)))
        for factor in (1.0, 2.0):
            values = [factor * value for value in self.many((7,))]
            assert cpu_norms(values, 2.0, plan)[0] == [torch.linalg.vector_norm(value).item() for value in values]


class TestTorchsOwn:
    """``torchs`` says whether a clip with these norms is torch's bit for bit."""

    @pytest.mark.parametrize(
        "gradients",
        [
            [torch.ones(PLAIN + 1)],
            [torch.ones(3), torch.ones(3, dtype=torch.float64)],
            [torch.ones(3, dtype=torch.bfloat16)],
            [torch.full((3,), 1e30)],  # in torch the squares overflow
            [torch.ones(3), None],  # which torch leaves out, and would add up in another order
        ],
    )
    def test_they_are_not_where_torch_measures_less_well_or_otherwise(self, gradients):
        assert not gradient_norms(gradients).torchs

    @pytest.mark.parametrize("tiny", [0.0, 1e-10, 4.5593556780489995e-17, 1e-30])
    def test_they_are_beside_a_layer_without_gradient_or_one_that_vanishes(self, tiny):
        gradients = [torch.full((6,), tiny), torch.full((6,), 239913615360.0), torch.full((6,), 266139402240.0)]
        assert gradient_norms(gradients).torchs
        assert gradient_norms(gradients).torchs_global_norm() == torch.nn.utils.get_total_norm(gradients).item()


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


class TestProperties:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(finite, max_size=6), max_size=5), st.sampled_from(NORM_TYPES))
    def test_any_finite_gradients_have_the_norm_of_the_reference(self, layers, norm_type):
        norms = gradient_norms([torch.tensor(layer) for layer in layers], norm_type)
        everything = torch.tensor([element for layer in layers for element in layer], dtype=torch.float64)
        assert norms.global_norm == pytest.approx(reference(everything, norm_type), rel=1e-6)

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        st.sampled_from(sorted(DISTRIBUTIONS)),
        st.lists(st.integers(1, PLAIN + 3 * ROW), min_size=1, max_size=3),
        st.integers(1, 2 * FEWEST_TOGETHER),
        st.integers(-60, 60),
    )
    def test_random_layers_of_any_size_and_scale_are_right_to_a_millionth(self, seed, name, sizes, copies, power):
        generator = torch.Generator().manual_seed(seed)
        values = [DISTRIBUTIONS[name](torch.randn(size, generator=generator)) * 2.0**power for size in sizes * copies]
        assert gradient_norms(values).layer_norms == pytest.approx([reference(value) for value in values], rel=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(finite, min_size=1, max_size=8), st.sampled_from(NORM_TYPES), st.integers(0, 8))
    def test_splitting_a_vector_into_layers_does_not_change_its_norm(self, elements, norm_type, cut):
        whole = gradient_norms([torch.tensor(elements)], norm_type).global_norm
        parts = gradient_norms([torch.tensor(elements[:cut]), torch.tensor(elements[cut:])], norm_type)
        assert parts.global_norm == pytest.approx(whole, rel=1e-6)


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_measuring_changes_no_gradient(self, norm_type):
        values = [random(size) for size in SIZES[:6]]
        before = [value.clone() for value in values]
        gradient_norms(values, norm_type)
        assert all(torch.equal(value, copy) for value, copy in zip(values, before, strict=True))


def test_a_default_device_makes_no_difference():
    gradients = [torch.full((2048,), 3.0), torch.full((2048,), 4.0)]
    with torch.device("meta"):  # as torch.set_default_device does for the whole script
        norms = gradient_norms(gradients)
    assert norms.global_norm == pytest.approx(5 * 2048**0.5)


def test_a_tied_weight_counts_once():
    weight = torch.ones(2)
    assert len(distinct([weight, torch.ones(2), weight])) == 2


def test_infinity_can_be_written_out():
    assert as_norm_type("inf") == math.inf


@pytest.mark.parametrize("norm_type", [0, -1, math.nan, "two", None])
def test_a_norm_type_that_is_none_is_refused(norm_type):
    with pytest.raises(ConfigurationError, match="norm_type must be a number above 0"):
        as_norm_type(norm_type)
