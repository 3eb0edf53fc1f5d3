"""Which layer a NaN began in, told from the norms of the frame: backward runs from the last layer to the first."""

import numpy as np
import pytest

from gradvitals_service.health.origin import where_it_began

NAMES = ["embedding", "first", "second", "head"]


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([np.nan, np.nan, 1.0, 2.0], "; first in backward order in first, still finite next to it: second"),
        ([1.0, np.nan, 1.0, 2.0], "; first in backward order in first, still finite next to it: second and embedding"),
        ([np.nan, 3.0, np.inf, 2.0], "; first in backward order in second, still finite next to it: head and first"),
        ([np.nan, 0.0, np.inf, 0.0], "; bad in every layer, so it began in the loss or in second"),
        ([np.nan, np.nan, np.nan, np.nan], "; bad in every layer, so it began in the loss or in head"),
        ([1.0, 1.0, 1.0, 1.0], ""),
    ],
)
def test_the_last_bad_layer_in_the_models_order_is_the_first_that_backward_reached(norms, expected):
    assert where_it_began(NAMES, np.array(norms, np.float32)) == expected


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_planted_in_any_layer_is_found_there(place, bad):
    norms = np.ones(4, np.float32)
    norms[place] = bad
    assert f"in backward order in {NAMES[place]}," in where_it_began(NAMES, norms)


def test_nothing_is_said_where_the_norms_are_not_known():
    assert where_it_began(NAMES, None) == ""
