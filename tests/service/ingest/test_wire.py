"""The binary chunk: the golden bytes give the documented values, and everything else is refused with its field."""

import contextlib
import math
import struct
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service.speaking import chunk
from wire import golden

from gradvitals_service.errors import MalformedError, ServiceError, UnsupportedError
from gradvitals_service.ingest.exactly_once import LostRange
from gradvitals_service.ingest.wire import decode_chunk
from gradvitals_service.runs.layouts import layout_id
from gradvitals_service.runs.schemas import LayerDeclaration

ATTEMPT = UUID("0199a3c2-7d10-7abc-8def-0123456789ab")
NAN, INF = math.nan, math.inf


def pack(body: Any) -> bytes:
    return msgspec.msgpack.encode(body)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def refusal_of(body: Any) -> ServiceError:
    with pytest.raises(ServiceError) as refusal:
        decode_chunk(body if isinstance(body, bytes) else pack(body))
    return refusal.value


class TestTheGoldenChunk:
    """``tests/wire/chunk_v1.msgpack`` is read as ``docs/wire.md`` says."""

    decoded = decode_chunk(golden.PATH.read_bytes())

    def test_its_head_is_read(self) -> None:
        head = (self.decoded.attempt_id, self.decoded.monitor, self.decoded.layout_id, self.decoded.first)
        assert head == (UUID(golden.ATTEMPT_ID), golden.MONITOR, golden.LAYOUT_ID, golden.FIRST)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("step", golden.STEP),
            ("time", golden.TIME),
            ("global_norm", golden.GLOBAL_NORM),
            ("clip_coefficient", golden.CLIP_COEFFICIENT),
            ("max_norm", golden.MAX_NORM),
            ("lr", golden.LR),
            ("loss", golden.LOSS),
            ("loss_scale", golden.LOSS_SCALE),
            ("flags", golden.FLAGS),
        ],
    )
    def test_its_columns_are_read(self, name: str, expected: list[float]) -> None:
        np.testing.assert_array_equal(self.decoded.frames.columns[name], expected)

    def test_its_layers_and_weights_are_read(self) -> None:
        frames = self.decoded.frames
        np.testing.assert_array_equal(frames.layer_norms, np.array(golden.LAYER_NORMS, np.float32))
        np.testing.assert_array_equal(frames.param_rows, golden.PARAM_NORM_ROWS)
        np.testing.assert_array_equal(frames.param_norms, golden.PARAM_NORMS)

    def test_an_absent_scalar_is_told_from_a_logged_nan(self) -> None:
        present, values = self.decoded.frames.scalars["accuracy"]
        assert present.tolist() == [True, False, True]
        np.testing.assert_array_equal(values, [0.5, NAN, NAN])
        present, values = self.decoded.frames.scalars["tokens"]
        assert (present.tolist(), values.tolist()) == ([True, True, True], [4096.0, 4096.0, 8192.0])

    def test_its_details_and_lost_ranges_are_read(self) -> None:
        assert self.decoded.frames.details == golden.DETAILS
        assert self.decoded.lost == (LostRange(**golden.LOST),)

    def test_the_layouts_id_is_computed_as_documented(self) -> None:
        names = ("name", "module", "shape", "numel", "dtype", "parameter_group", "trainable")
        layers = [LayerDeclaration(**dict(zip(names, layer, strict=True))) for layer in golden.LAYERS]
        assert layout_id(layers) == golden.LAYOUT_ID


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attempt_id": "not-a-uuid"}, "attempt_id: Invalid UUID"),
        ({"attempt_id": 7}, "attempt_id: Expected"),
        ({"monitor": ""}, "monitor: Expected `str` of length >= 1"),
        ({"monitor": "m" * 129}, "monitor: Expected `str` of length <= 128"),
        ({"monitor": "ma\0in"}, "monitor: Expected `str` matching"),
        ({"layout_id": "ABC"}, "layout_id: Expected `str` matching"),
        ({"first": -1}, "first: Expected `int` >= 0"),
        ({"first": 2**63}, "first: Expected `int` <="),
        ({"first": True}, "first: Expected `int`, got `bool`"),
        ({"n": 4097}, "n: Expected `int` <= 4096"),
        ({"n": -1}, "n: Expected `int` >= 0"),
        ({"n": 0}, "n: a chunk without frames"),
        ({"n": 4}, "step: 24 bytes where 4 frames need 32"),
        ({"step": [0, 1]}, "step: 16 bytes where 3 frames need 24"),
        ({"step": [0, 2, 2]}, "step: steps must increase"),
        ({"step": [2, 1, 3]}, "step: steps must increase"),
        ({"step": [-1, 0, 1]}, "step: a step is below 0, in row 0"),
        ({"step": "0, 1, 2"}, "step: Expected `bytes`"),
        ({"time": [0.0, NAN, 1.0]}, "time: a time is not finite, in row 1"),
        ({"global_norm": [1.0, 2.0, -1.0]}, "global_norm: a norm is below 0, in row 2"),
        ({"global_norm": [1.0]}, "global_norm: 4 bytes where 3 frames need 12"),
        ({"clip_coefficient": [0.5, 1.5, 1.0]}, "clip_coefficient: outside of [0, 1], in row 1"),
        ({"clip_coefficient": [-0.5, 0.5, 1.0]}, "clip_coefficient: outside of [0, 1], in row 0"),
        ({"max_norm": [1.0, NAN, 1.0]}, "max_norm: below 0 or NaN, in row 1"),
        ({"flags": b"12345"}, "flags: 5 bytes where 3 frames need 12"),
        ({"layer_norms": [1.0, 2.0, 3.0, 4.0]}, "layer_norms: 16 bytes are not 3 frames"),
        ({"layer_norms": [-1.0, 2.0, 3.0]}, "layer_norms: a norm is below 0"),
        ({"param_norms": {"rows": b"\x00", "values": b""}}, "param_norms.rows: ends in the middle"),
        ({"param_norms": {"rows": struct.pack("<I", 3), "values": floats(1, 2)}}, "param_norms.rows: not one of"),
        ({"param_norms": {"rows": struct.pack("<2I", 1, 1), "values": floats(1, 2, 3, 4)}}, "must increase strictly"),
        ({"param_norms": {"rows": struct.pack("<I", 1), "values": floats(1)}}, "param_norms.values: 4 bytes where"),
        ({"scalars": {"a": {"present": b"", "values": b""}}}, "scalars.a.present: 0 bytes"),
        ({"scalars": {"a": {"present": b"\x03", "values": b""}}}, "scalars.a.values: 0 bytes where 2 frames need 16"),
        ({"scalars": {"a\0": {"present": b"\x00", "values": b""}}}, "scalars"),
        ({"scalars": {f"s{k}": {"present": b"\0", "values": b""} for k in range(65)}}, "scalars: Expected `object`"),
        ({"details": [{"row": 3, "non_finite": []}]}, "details.row: 3 is not one of the 3 frames"),
        ({"details": [{"row": 0, "non_finite": [[2, 1, 1]]}]}, "details.non_finite: a layer is not one of the 2"),
        ({"details": [{"row": 0, "non_finite": [[0, 1]]}]}, "details[0].non_finite[0]: Expected `array` of length 3"),
        ({"lost": [{"first": 0, "n": 0, "reason": "quota"}]}, "lost[0].n: Expected `int` >= 1"),
        ({"lost": [{"first": 0, "n": 3, "reason": "quota"}]}, "lost: the range from 0 does not end"),
        (
            {"first": 5, "lost": [{"first": 0, "n": 2, "reason": "quota"}, {"first": 3, "n": 2, "reason": "quota"}]},
            "lost",
        ),
        ({"lost": [{"first": 0, "n": 3, "reason": ""}]}, "lost[0].reason"),
    ],
)
def test_a_malformed_chunk_is_refused_with_the_field_and_the_reason(changes: dict[str, Any], words: str) -> None:
    refusal = refusal_of(chunk(ATTEMPT, 0, 3, **changes))
    assert refusal.status_code == 422
    assert words in refusal.detail


@pytest.mark.parametrize(
    "key", ["v", "attempt_id", "monitor", "layout_id", "first", "n", "step", "layer_norms", "flags"]
)
def test_a_missing_key_is_named(key: str) -> None:
    body = chunk(ATTEMPT, 0, 3)
    del body[key]
    assert f"missing required field `{key}`" in refusal_of(body).detail


def test_a_future_version_is_answered_with_the_versions_spoken_here() -> None:
    refusal = refusal_of({"v": 2, "first": "of another type", "frames": []})
    assert isinstance(refusal, UnsupportedError)
    assert (refusal.status_code, refusal.extra) == (415, {"wire_versions": [1]})


def test_unknown_keys_are_ignored() -> None:
    assert decode_chunk(pack(chunk(ATTEMPT, 0, 3) | {"new": {"deep": [1, 2]}})).first == 0


def test_non_finite_norms_are_welcome() -> None:
    body = chunk(ATTEMPT, 0, 2, global_norm=[NAN, INF], clip_coefficient=[NAN, 0.0], layer_norms=[NAN, 1.0, INF, 2.0])
    np.testing.assert_array_equal(decode_chunk(pack(body)).frames.layer_norms, [[NAN, 1.0], [INF, 2.0]])


def test_a_layout_without_layers_is_possible() -> None:
    assert decode_chunk(pack(chunk(ATTEMPT, 0, 2, layer_norms=[]))).layer_count == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x80",
        b"[]",
        golden.PATH.read_bytes()[:-1],
        golden.PATH.read_bytes() + b"\0",
        b"\x91" * 100_000,
        b"\x82\xa1v\x01\xa7details\xdd\xff\xff\xff\xff",
        b"\x82\xa1v\x01\xa7monitor\xa4\xff\xfe\xfd\xfc",
    ],
    ids=["empty", "reserved", "no keys", "JSON", "cut", "trailing", "deep", "huge array", "not UTF-8"],
)
def test_what_is_no_chunk_at_all_is_refused(body: bytes) -> None:
    assert refusal_of(body).status_code == 422


@settings(deadline=None)
@given(st.data())
def test_no_change_of_a_byte_makes_anything_but_a_chunk_or_a_refusal(data: st.DataObject) -> None:
    body = bytearray(golden.PATH.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
        body[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedError, UnsupportedError):
        decode_chunk(bytes(body))
