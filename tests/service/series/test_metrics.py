"""What the names of metrics stand for."""

import numpy as np
import pytest

from gradvitals_service.series.codec import COLUMN_TYPES, Columns
from gradvitals_service.series.metrics import metric_column

NAN = float("nan")


def columns(scalars: dict[str, list[float | None]] | None = None, **given: list[float]) -> Columns:
    """Two frames; columns that are not given are zeros, and None is a scalar that was not logged."""
    plain = {name: np.array(given.get(name, [0, 0]), kind) for name, kind in COLUMN_TYPES.items()}
    logged = scalars or {}
    read = Columns(plain, {name: np.array([value or NAN for value in values]) for name, values in logged.items()}, [])
    for name, values in logged.items():
        key = f"scalar:{name}" if name in COLUMN_TYPES else name
        read.present[key] = np.array([value is not None for value in values])
    return read


class TestMetricColumn:
    def test_a_loss_that_was_not_logged_is_absent_and_a_logged_nan_is_not(self):
        loss = metric_column(columns(loss=[NAN, NAN], flags=[0, 2]), "loss")
        assert loss.present.tolist() == [False, True]

    def test_an_optimizer_without_a_learning_rate_has_none(self):
        assert metric_column(columns(lr=[NAN, 0.5]), "lr").present.tolist() == [False, True]

    def test_clip_rate_is_one_where_the_step_was_clipped(self):
        rate = metric_column(columns(clip_coefficient=[1.0, 0.25]), "clip_rate")
        assert rate.values.tolist() == [0.0, 1.0]

    def test_clip_rate_says_nothing_of_a_non_finite_step(self):
        assert metric_column(columns(clip_coefficient=[NAN, 0.25]), "clip_rate").present.tolist() == [False, True]

    def test_a_scalar_is_absent_where_it_was_not_logged(self):
        accuracy = metric_column(columns({"accuracy": [None, 0.5]}), "accuracy")
        assert accuracy.present.tolist() == [False, True]
        assert accuracy.values[1] == 0.5

    def test_a_name_that_nobody_logged_is_absent_everywhere(self):
        assert metric_column(columns(), "acuracy").present.tolist() == [False, False]

    @pytest.mark.parametrize(("name", "value"), [("loss", 1.0), ("scalar:loss", 7.0)])
    def test_a_scalar_with_a_columns_name_has_a_name_of_its_own(self, name, value):
        both = columns({"loss": [7.0, 7.0]}, loss=[1.0, 1.0], flags=[2, 2])
        assert metric_column(both, name).values.tolist() == [value, value]

    def test_an_internal_column_is_no_metric(self):
        assert metric_column(columns(flags=[2, 2]), "flags").present.tolist() == [False, False]
