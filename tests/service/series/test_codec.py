"""Columns come back from their blobs as they went in."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradvitals_service.series.codec import (
    COLUMN_TYPES,
    ChunkColumns,
    CorruptChunkError,
    decode_chunk_columns,
    decode_columns,
    decode_layers,
    decode_some_layers,
    encode_columns,
    join_columns,
)


def make_chunk(n: int, layer_count: int, seed: int = 0) -> ChunkColumns:
    random = np.random.default_rng(seed)
    columns = {name: random.integers(0, 2**31, n).astype(kind) for name, kind in COLUMN_TYPES.items()}
    columns["global_norm"][::3] = math.nan
    rows = np.arange(0, n, 64, dtype=np.uint32)
    present = random.random(n) < 0.5
    return ChunkColumns(
        columns=columns,
        layer_norms=random.random((n, layer_count)).astype(np.float32),
        param_rows=rows,
        param_norms=random.random((len(rows), layer_count)).astype(np.float32),
        scalars={"accuracy": (present, np.where(present, random.random(n), np.nan))},
        details=[{"row": n - 1, "non_finite": [[0, 7, 0]], "batch_id": "b"}],
    )


def assert_equal(one: ChunkColumns, other: ChunkColumns) -> None:
    for name in COLUMN_TYPES:
        assert one.columns[name].tobytes() == other.columns[name].tobytes(), name
        assert other.columns[name].dtype == np.dtype(COLUMN_TYPES[name])
    np.testing.assert_array_equal(one.layer_norms, other.layer_norms)
    np.testing.assert_array_equal(one.param_rows, other.param_rows)
    np.testing.assert_array_equal(one.param_norms, other.param_norms)
    for name, (present, values) in one.scalars.items():
        np.testing.assert_array_equal(present, other.scalars[name][0])
        np.testing.assert_array_equal(values, other.scalars[name][1])
    assert one.details == other.details


@settings(deadline=None)
@given(n=st.integers(1, 300), layer_count=st.integers(0, 20))
def test_a_chunk_comes_back_bit_for_bit(n: int, layer_count: int) -> None:
    chunk = make_chunk(n, layer_count)
    assert_equal(chunk, decode_chunk_columns(*encode_columns(chunk), layer_count))


def test_columns_put_one_after_the_other_are_those_of_all_frames() -> None:
    first, second = make_chunk(3, 1), make_chunk(2, 1, seed=1)
    second.scalars = {"loss": (np.array([True, False]), np.array([0.5, math.nan]))}
    joined = join_columns([decode_columns(encode_columns(chunk)[0]) for chunk in (first, second)])
    for name in COLUMN_TYPES:
        both = np.concatenate([first.columns[name], second.columns[name]])
        assert joined[name].tobytes() == both.tobytes(), name
    assert joined.scalars == ("accuracy", "loss")
    assert joined.present["accuracy"].tolist() == [*first.scalars["accuracy"][0].tolist(), False, False]
    assert joined.present["scalar:loss"].tolist() == [False, False, False, True, False]
    np.testing.assert_array_equal(joined["scalar:loss"], [math.nan, math.nan, math.nan, 0.5, math.nan])


def test_the_frames_after_a_cut_are_those_frames() -> None:
    chunk = make_chunk(130, 3)
    cut = chunk.after(65)
    assert len(cut) == 65
    assert cut.columns["step"].tolist() == chunk.columns["step"][65:].tolist()
    assert cut.param_rows.tolist() == [63]  # frame 128, counted from 65
    np.testing.assert_array_equal(cut.param_norms[0], chunk.param_norms[2])
    assert cut.details[0]["row"] == 64
    assert_equal(cut, decode_chunk_columns(*encode_columns(cut), 3))


def test_a_scalar_with_the_name_of_a_column_hides_nothing() -> None:
    chunk = make_chunk(2, 1)
    present = np.array([True, False])
    chunk.scalars = {"step": (present, np.array([0.5, np.nan]))}
    read = decode_columns(encode_columns(chunk)[0])
    assert read["step"].tolist() == chunk.columns["step"].tolist()
    np.testing.assert_array_equal(read["scalar:step"], [0.5, np.nan])
    assert read.present["scalar:step"].tolist() == [True, False]


def test_realistic_norms_take_less_than_their_raw_size() -> None:
    random = np.random.default_rng(0)
    chunk = make_chunk(256, 200)
    chunk.layer_norms = np.exp(0.25 * random.standard_normal((256, 200))).astype(np.float32)
    assert len(encode_columns(chunk)[1]) < 0.85 * 4 * 256 * 200


@pytest.mark.parametrize("position", [4, 20, -1])
def test_a_blob_that_a_disk_has_changed_is_noticed(position: int) -> None:
    columns, _ = encode_columns(make_chunk(100, 2))
    damaged = bytearray(columns)
    damaged[position] ^= 0xFF
    with pytest.raises(CorruptChunkError):
        decode_columns(bytes(damaged))


def test_layers_of_another_count_are_refused() -> None:
    _, layers = encode_columns(make_chunk(10, 5))
    with pytest.raises(CorruptChunkError, match="10 frames and 4 layers"):
        decode_layers(layers, 10, 4)
    with pytest.raises(CorruptChunkError, match="9 frames"):
        decode_layers(layers, 9, 5)


def test_some_layers_are_those_that_reading_all_of_them_gives() -> None:
    chunk = make_chunk(130, 5)
    blob = encode_columns(chunk)[1]
    last, first = decode_some_layers(blob, 130, 5, [4, 0])
    assert last.tobytes() == chunk.layer_norms[:, 4].tobytes()
    assert first.tobytes() == chunk.layer_norms[:, 0].tobytes()
    with pytest.raises(CorruptChunkError):
        decode_some_layers(blob, 130, 6, [0])
