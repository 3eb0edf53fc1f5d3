"""Norms are those of a float64 reference, whatever the size, the dtype or the layout in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradvitals.cpu_norms import ROW, ROWS_JOINED
from gradvitals.errors import ConfigurationError
from gradvitals.norms import as_norm_type, distinct, gradient_norms

SIZES = [1, 2, ROW - 1, ROW, ROW + 1, 3 * ROW, 3 * ROW + 7, ROWS_JOINED * ROW, 2 * ROWS_JOINED * ROW + 5]
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
        assert gradient_norms(self.gradients, norm_type).global_norm.item() == pytest.approx(expected, rel=1e-6)

    def test_each_layer_has_its_own_norm(self):
        assert gradient_norms(self.gradients).layer_norms.tolist() == [3.0, 4.0]

    def test_a_missing_gradient_counts_as_zero_at_its_place(self):
        norms = gradient_norms([None, self.gradients[0], None, self.gradients[1]])
        assert norms.layer_norms.tolist() == [0.0, 3.0, 0.0, 4.0]
        assert norms.global_norm.item() == 5.0

    def test_an_empty_gradient_counts_as_zero(self):
        norms = gradient_norms([torch.zeros(0, 3), self.gradients[0]], math.inf)
        assert norms.layer_norms.tolist() == [0.0, 3.0]

    @pytest.mark.parametrize("gradients", [[], [None, None], [torch.zeros(0)], [torch.zeros(5)]])
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_without_gradients_the_norm_is_zero(self, gradients, norm_type):
        norms = gradient_norms(gradients, norm_type)
        assert norms.global_norm.item() == 0.0
        assert norms.layer_norms.tolist() == [0.0] * len(gradients)

    def test_the_duplicates_of_a_sparse_gradient_are_added_up_first(self):
        sparse = torch.sparse_coo_tensor([[1, 1]], [1.0, 2.0], (5,), check_invariants=True)
        assert gradient_norms([sparse]).layer_norms.tolist() == [3.0]

    def test_a_loss_scale_can_be_divided_out(self):
        norms = gradient_norms(self.gradients).divided_by(torch.tensor(2.0))
        assert norms.layer_norms.tolist() == [1.5, 2.0]
        assert norms.global_norm.item() == 2.5


class TestPrecision:
    @pytest.mark.parametrize("size", [*SIZES, 3_000_001])
    def test_the_2_norm_is_right_to_a_millionth_at_every_size(self, size):
        values = random(size)
        assert gradient_norms([values]).layer_norms.item() == pytest.approx(reference(values), rel=1e-6)

    @pytest.mark.parametrize("value", [0.1, 0.0137, 1 / 3])
    def test_equal_elements_do_not_pile_up_their_rounding_errors(self, value):
        # Every addition rounds the same way here: torch's own norm is 4e-4 off.
        values = torch.full((1_000_003,), value)
        assert abs(torch.linalg.vector_norm(values).item() / reference(values) - 1) > 1e-5
        assert gradient_norms([values]).global_norm.item() == pytest.approx(reference(values), rel=1e-6)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_every_norm_type_is_right_at_every_size(self, size, norm_type):
        values = random(size)
        assert gradient_norms([values], norm_type).layer_norms.item() == pytest.approx(
            reference(values, norm_type), rel=1e-6
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_half_and_double_precision_are_measured_as_precisely(self, dtype, norm_type):
        values = [random(size, dtype) for size in (7, 3 * ROW + 7, 300 * ROW)]
        expected = [reference(value, norm_type) for value in values]
        assert gradient_norms(values, norm_type).layer_norms.tolist() == pytest.approx(expected, rel=1e-6)

    def test_many_layers_of_mixed_sizes_and_dtypes_keep_their_places(self):
        dtypes = [torch.float32, torch.bfloat16, torch.float64]
        values = [random(1 + 997 * place % 9000, dtypes[place % 3]) for place in range(60)]
        expected = [reference(value) for value in values]
        norms = gradient_norms(values)
        assert norms.layer_norms.tolist() == pytest.approx(expected, rel=1e-6)
        assert norms.global_norm.item() == pytest.approx(math.sqrt(sum(e * e for e in expected)), rel=1e-6)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_the_order_in_memory_does_not_matter(self, norm_type):
        image = random(8 * 64 * 9 * 5).view(8, 64, 9, 5).to(memory_format=torch.channels_last)
        strided = random(6000).view(60, 100).t()[::2]
        expected = [reference(image, norm_type), reference(strided, norm_type)]
        assert gradient_norms([image, strided], norm_type).layer_norms.tolist() == pytest.approx(expected, rel=1e-6)

    def test_complex_gradients_have_the_norm_of_their_absolute_values(self):
        assert gradient_norms([torch.tensor([3 + 4j])]).layer_norms.tolist() == [5.0]

    def test_the_norm_is_torchs_where_torchs_is_right(self):
        values = [random(size) for size in (5, 300, 2000)]
        assert gradient_norms(values).global_norm.item() == pytest.approx(
            torch.nn.utils.get_total_norm(values).item(), rel=1e-6
        )


class TestRange:
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-19, 1e19, 1e30, 3e38])
    @pytest.mark.parametrize("size", [1, 3 * ROW + 7])
    def test_a_finite_gradient_has_a_finite_norm(self, norm_type, scale, size):
        values = torch.full((size,), scale)
        assert gradient_norms([values], norm_type).layer_norms.item() == pytest.approx(
            reference(values, norm_type),
            rel=2e-5 if norm_type == 1 else 1e-6,  # torch adds absolute values up one by one
        )

    def test_the_global_norm_is_finite_where_it_exceeds_single_precision(self):
        global_norm = gradient_norms([torch.full((4,), 3e38)]).global_norm
        assert global_norm.item() == pytest.approx(6e38)

    def test_double_precision_may_use_its_whole_range(self):
        values = torch.tensor([3e200, 4e200], dtype=torch.float64)
        assert gradient_norms([values]).global_norm.item() == pytest.approx(5e200)

    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    @pytest.mark.parametrize("size", [3, 3 * ROW + 7])
    @pytest.mark.parametrize("bad", [[math.nan], [math.inf], [-math.inf], [math.inf, math.nan]])
    def test_what_is_not_finite_is_what_torch_says(self, norm_type, size, bad):
        values = torch.ones(size)
        values[: len(bad)] = torch.tensor(bad)
        norms = gradient_norms([torch.ones(2), values], norm_type)
        torchs = torch.linalg.vector_norm(values, norm_type)
        assert norms.layer_norms[0].item() == pytest.approx(2 ** (1 / norm_type))
        torch.testing.assert_close(norms.layer_norms[1].float(), torchs, equal_nan=True)
        torch.testing.assert_close(norms.global_norm, torchs, equal_nan=True)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


class TestProperties:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(finite, max_size=6), max_size=5), st.sampled_from(NORM_TYPES))
    def test_any_finite_gradients_have_the_norm_of_the_reference(self, layers, norm_type):
        norms = gradient_norms([torch.tensor(layer) for layer in layers], norm_type)
        everything = torch.tensor([element for layer in layers for element in layer], dtype=torch.float64)
        assert norms.global_norm.item() == pytest.approx(reference(everything, norm_type), rel=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(finite, min_size=1, max_size=8), st.sampled_from(NORM_TYPES), st.integers(0, 8))
    def test_splitting_a_vector_into_layers_does_not_change_its_norm(self, elements, norm_type, cut):
        whole = gradient_norms([torch.tensor(elements)], norm_type).global_norm.item()
        parts = gradient_norms([torch.tensor(elements[:cut]), torch.tensor(elements[cut:])], norm_type)
        assert parts.global_norm.item() == pytest.approx(whole, rel=1e-6)


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize("norm_type", NORM_TYPES)
    def test_measuring_changes_no_gradient(self, norm_type):
        values = [random(size) for size in SIZES[:6]]
        before = [value.clone() for value in values]
        gradient_norms(values, norm_type)
        assert all(torch.equal(value, copy) for value, copy in zip(values, before, strict=True))

    def test_measuring_builds_no_graph(self):
        assert not gradient_norms([torch.ones(3, requires_grad=True)]).global_norm.requires_grad


def test_a_default_device_makes_no_difference():
    gradients = [torch.full((2048,), 3.0), torch.full((2048,), 4.0)]
    with torch.device("meta"):  # as torch.set_default_device does for the whole script
        norms = gradient_norms(gradients)
    assert norms.global_norm.item() == pytest.approx(5 * 2048**0.5)


def test_a_tied_weight_counts_once():
    weight = torch.ones(2)
    assert len(distinct([weight, torch.ones(2), weight])) == 2


def test_infinity_can_be_written_out():
    assert as_norm_type("inf") == math.inf


@pytest.mark.parametrize("norm_type", [0, -1, math.nan, "two", None])
def test_a_norm_type_that_is_none_is_refused(norm_type):
    with pytest.raises(ConfigurationError, match="norm_type must be a number above 0"):
        as_norm_type(norm_type)
