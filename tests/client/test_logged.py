"""Values logged for a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from client.building import frame

from gradvitals.errors import ConfigurationError
from gradvitals.logged import LoggedValues


def unexpected(name, fault):
    raise AssertionError(name) from fault


def read(values: LoggedValues):
    got = frame(0)
    values.read_into(got, unexpected)
    return got


class FakeDeviceTensor:
    """A tensor on a device, which is read only when someone waits for it."""

    class device:  # noqa: N801 -- as torch spells it
        type = "cuda"

    def __init__(self, value: float, reads: list[float]) -> None:
        self.value = value
        self.reads = reads

    def numel(self) -> int:
        return 1

    def element_size(self) -> int:
        return 4

    def is_complex(self) -> bool:
        return False

    def is_floating_point(self) -> bool:
        return True

    def detach(self):
        return self

    def clone(self):
        return FakeDeviceTensor(self.value, self.reads)

    def __add__(self, other):
        return FakeDeviceTensor(self.value + other.value, self.reads)

    def __float__(self) -> float:
        self.reads.append(self.value)
        return self.value


@pytest.mark.parametrize(
    "value", [2.5, np.float32(2.5), np.array(2.5), np.array([2.5]), torch.tensor(2.5), torch.tensor([2.5])]
)
def test_a_single_number_of_any_kind_is_kept(value):
    logged = LoggedValues()
    logged.add("accuracy", value)
    assert read(logged).scalars == {"accuracy": 2.5}


@pytest.mark.parametrize(
    "value", ["2.5", b"2", None, [1.0], {"a": 1}, torch.ones(2), np.ones(3), np.array(["2"]), 1 + 2j]
)
def test_anything_else_is_a_type_error_that_names_it_and_leaves_nothing(value):
    logged = LoggedValues()
    with pytest.raises(TypeError, match="'image'"):
        logged.add("image", value)
    assert read(logged).scalars == {}


def test_the_loss_goes_to_its_own_column():
    logged = LoggedValues()
    logged.add("loss", 0.75)
    got = read(logged)
    assert (got.loss, got.scalars) == (0.75, {})


def test_several_values_become_their_mean():
    logged = LoggedValues()
    for value in (1.0, 2.0, 6.0):
        logged.add("loss", value)
    assert read(logged).loss == 3.0


def test_a_nan_wins_over_the_others():
    logged = LoggedValues()
    logged.add("loss", 1.0)
    logged.add("loss", math.nan)
    assert math.isnan(read(logged).loss)


def test_an_integer_beyond_floats_is_infinite():
    logged = LoggedValues()
    logged.add("tokens", 10**400)
    logged.add("debt", -(10**400))
    assert read(logged).scalars == {"tokens": math.inf, "debt": -math.inf}


def test_merged_values_count_as_logged_in_one_step():
    first, second = LoggedValues(), LoggedValues()
    first.add("loss", 1.0)
    second.add("loss", 2.0)
    first.merge(second)
    assert read(first).loss == 1.5


def test_a_tensor_with_a_history_is_read_without_it():
    weight = torch.ones(1, requires_grad=True)
    logged = LoggedValues()
    logged.add("loss", (weight * 3).sum())
    assert read(logged).loss == 3.0


def test_a_tensor_on_the_host_keeps_the_value_it_had_when_it_was_logged():
    total = torch.tensor(1.0)
    logged = LoggedValues()
    logged.add("total", total)
    total += 1
    assert read(logged).scalars == {"total": 1.0}


def test_a_device_tensor_is_read_only_at_the_hand_over():
    reads: list[float] = []
    logged = LoggedValues()
    logged.add("loss", FakeDeviceTensor(0.5, reads))
    assert reads == []
    assert read(logged).loss == 0.5
    assert reads == [0.5]


def test_a_device_tensor_keeps_the_value_it_had_when_it_was_logged():
    loss = FakeDeviceTensor(0.5, [])
    logged = LoggedValues()
    logged.add("loss", loss)
    loss.value = 9.0  # as a captured graph's next replay does
    assert read(logged).loss == 0.5


def test_however_many_device_tensors_are_logged_one_is_held_and_read():
    reads: list[float] = []
    logged = LoggedValues()
    for value in (1.0, 2.0, 6.0):
        logged.add("loss", FakeDeviceTensor(value, reads))
    logged.add("loss", 3.0)
    assert read(logged).loss == 3.0
    assert reads == [9.0]


def test_merged_device_tensors_count_once_each():
    first, second = LoggedValues(), LoggedValues()
    first.add("loss", FakeDeviceTensor(1.0, []))
    second.add("loss", FakeDeviceTensor(2.0, []))
    second.add("loss", 6.0)
    first.merge(second)
    assert read(first).loss == 3.0


def test_a_value_that_cannot_be_read_costs_only_itself():
    class Broken(FakeDeviceTensor):
        def clone(self):
            return self

        def __float__(self) -> float:
            raise RuntimeError("device lost")

    logged, faults = LoggedValues(), []
    logged.add("loss", Broken(0.0, []))
    logged.add("accuracy", 0.5)
    got = frame(0)
    logged.read_into(got, lambda name, fault: faults.append((name, str(fault))))
    assert faults == [("loss", "device lost")]
    assert (got.loss, got.scalars) == (None, {"accuracy": 0.5})


class TestOnADevice:
    """Meta tensors stand for a device's: they have no value that could be read here."""

    def test_what_is_complex_is_refused_at_once(self):
        with pytest.raises(TypeError, match="complex"):
            LoggedValues().add("loss", torch.zeros((), dtype=torch.complex64, device="meta"))

    def test_a_whole_number_keeps_its_digits(self):
        logged = LoggedValues()
        logged.add("tokens", torch.zeros((), dtype=torch.int64, device="meta"))
        _, (kept,) = logged.hand_over()
        assert kept.dtype is torch.float64


class TestBatchIds:
    @pytest.mark.parametrize(
        ("batch_id", "kept"), [("b-17", "b-17"), (17, "17"), (np.int64(17), "17"), ("a\0b", "a\ufffdb")]
    )
    def test_a_text_or_a_whole_number_names_the_batch_of_the_frame(self, batch_id, kept):
        logged = LoggedValues()
        logged.name_batch(batch_id)
        got = read(logged)
        assert (got.batch_id, got.scalars) == (kept, {})

    @pytest.mark.parametrize("batch_id", [1.5, None, [1], torch.tensor(1), object()])
    def test_anything_else_is_a_type_error_and_leaves_nothing(self, batch_id):
        logged = LoggedValues()
        with pytest.raises(TypeError, match="'batch_id' is"):
            logged.name_batch(batch_id)
        assert read(logged).batch_id is None

    @pytest.mark.parametrize("batch_id", ["", "b" * 513])
    def test_an_empty_or_too_long_text_is_refused_in_words(self, batch_id):
        with pytest.raises(ConfigurationError, match="batch_id"):
            LoggedValues().name_batch(batch_id)

    def test_several_batches_of_a_step_are_named_one_after_the_other(self):
        first, second = LoggedValues(), LoggedValues()
        for batch_id in ("a", "a", "b"):
            first.name_batch(batch_id)
        second.name_batch("c")
        first.merge(second)
        assert read(first).batch_id == "a, b, c"

    def test_however_many_are_named_no_more_is_kept_than_the_service_takes(self):
        logged = LoggedValues()
        for batch_id in range(1000):
            logged.name_batch(batch_id)
        assert len(read(logged).batch_id) == 512

    def test_a_name_alone_is_something_that_was_logged(self):
        logged = LoggedValues()
        logged.name_batch(0)
        assert logged
