"""Frames, layouts and chunks beyond the golden file."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tracemalloc
from array import array
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from client.building import ATTEMPT_ID, LAYOUT, OTHER_LAYOUT, frame

from gradvitals.frames import (
    FLAG_LOSS,
    FLOAT32_MAX,
    Chunk,
    Layer,
    Layout,
    LostRange,
    decode_chunk,
    encode_chunk,
    float32_vector,
)


def sent(*frames, lost=(), first=0):
    """The body of a chunk as the service would unpack it."""
    return msgspec.msgpack.decode(encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, first, frames, lost)))


class TestLayout:
    def test_equal_layers_have_the_same_id(self):
        assert Layout(LAYOUT.layers).layout_id == LAYOUT.layout_id

    def test_the_order_of_layers_matters(self):
        assert Layout(LAYOUT.layers[::-1]).layout_id != LAYOUT.layout_id

    def test_a_large_layer_hashes_in_the_smallest_encoding(self):
        layer = Layer("w", "m", (70_000, 2), 140_000, "float32", 0, True)
        assert msgspec.msgpack.encode(70_000) == b"\xce\x00\x01\x11\x70"
        assert len(Layout((layer,)).layout_id) == 32

    def test_is_declared_with_all_its_fields(self):
        declared = msgspec.json.decode(msgspec.json.encode(LAYOUT.to_json()))
        assert declared["layers"][1] == {
            "name": "bias",
            "module": "linear",
            "shape": [2],
            "numel": 2,
            "dtype": "float32",
            "parameter_group": 0,
            "trainable": True,
        }


class TestEncodeChunk:
    def test_says_nothing_of_what_no_frame_has(self):
        assert {"param_norms", "scalars", "details", "lost"}.isdisjoint(sent(frame(0)))

    def test_a_loss_sets_its_flag_and_an_absent_one_does_not(self):
        with_loss, without = frame(0), frame(1)
        with_loss.loss = math.nan
        flags = np.frombuffer(sent(with_loss, without)["flags"], "<u4")
        assert flags.tolist() == [FLAG_LOSS, 0]

    def test_nothing_but_lost_frames_is_an_empty_chunk(self):
        body = sent(lost=[LostRange(0, 5, "queue_full", 10, 14)], first=5)
        assert (body["n"], body["first"], body["step"], body["layer_norms"]) == (0, 5, b"", b"")
        assert body["lost"] == [{"first": 0, "n": 5, "reason": "queue_full", "first_step": 10, "last_step": 14}]

    def test_the_presence_bitmap_has_a_second_byte_from_the_ninth_frame_on(self):
        frames = [frame(step) for step in range(9)]
        frames[8].scalars["accuracy"] = 0.5
        assert sent(*frames)["scalars"]["accuracy"]["present"] == b"\x00\x01"

    def test_what_was_encoded_is_decoded(self):
        original = frame(7)
        original.loss, original.scalars, original.batch_id = 0.5, {"accuracy": 0.25}, "b"
        original.non_finite = [(1, 2, 3)]
        original.param_norms = np.array([1.0, 2.0], dtype=np.float32)
        lost = (LostRange(0, 7, "refused", 0, 6),)
        body = encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, 7, [original], lost))
        read = decode_chunk(body, {LAYOUT.layout_id: LAYOUT})
        assert (read.first, read.end, read.lost) == (7, 8, lost)
        got = read.frames[0]
        assert (got.step, got.loss, got.scalars, got.batch_id) == (7, 0.5, {"accuracy": 0.25}, "b")
        assert got.non_finite == [(1, 2, 3)]
        assert got.layer_norms.tolist() == [3.0, 4.0]
        assert got.param_norms.tolist() == [1.0, 2.0]

    def test_a_chunk_of_another_layout_is_not_decoded(self):
        body = encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, 0, [frame(0)]))
        with pytest.raises(KeyError):
            decode_chunk(body, {OTHER_LAYOUT.layout_id: OTHER_LAYOUT})

    def test_the_work_is_done_in_pieces_between_which_others_may_go_on(self, monkeypatch):
        pieces = []
        monkeypatch.setattr("gradvitals.frames.give_way", lambda: pieces.append("piece"))
        encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, 0, [frame(0)]))
        assert len(pieces) > 9  # at least one a column

    def test_no_piece_copies_more_than_a_few_rows_of_a_large_chunk(self, monkeypatch):
        """Some 64 KB at most come into being between two of them: a measure that no other process disturbs."""
        row = array("f", [1.0]) * 1000
        layout = Layout(tuple(Layer(f"{name}", "m", (1,), 1, "float32", 0, True) for name in range(1000)))
        frames = [replace(frame(step, layout=layout), layer_norms=row) for step in range(256)]
        chunk = Chunk(ATTEMPT_ID, "main", layout, 0, frames)
        sizes = []
        monkeypatch.setattr("gradvitals.frames.give_way", lambda: sizes.append(tracemalloc.get_traced_memory()[0]))
        tracemalloc.start()
        try:
            encode_chunk(chunk)
        finally:
            tracemalloc.stop()
        steps = [after - before for before, after in itertools.pairwise(sizes)]
        whole = max(steps)  # the memory of the whole body, which is made at once and written to piece by piece
        assert whole > 1_000_000
        assert sorted(steps)[-2] <= 70_000
        assert len(sizes) > 32

    @pytest.mark.parametrize("layers", [0, 1, 60, 70, 20_000])
    def test_a_chunk_is_spelt_as_msgspec_spells_it(self, layers):
        layout = Layout(tuple(Layer(f"{name}", "m", (1,), 1, "float32", 0, True) for name in range(layers)))
        chunk = Chunk(ATTEMPT_ID, "main", layout, 0, [replace(frame(0), layout=layout, layer_norms=np.ones(layers))])
        body = encode_chunk(chunk)
        assert bytes(body) == msgspec.msgpack.encode(msgspec.msgpack.decode(body))


class TestFloat32Vector:
    def test_norms_are_packed_as_the_wire_has_them(self):
        body = sent(dataclasses.replace(frame(0), layer_norms=float32_vector([3.0, 4.0], 5.0)))
        assert np.frombuffer(body["layer_norms"], "<f4").tolist() == [3.0, 4.0]

    @pytest.mark.parametrize(
        ("worst", "kept"), [(1.0, 1.0), (1e200, FLOAT32_MAX), (math.inf, math.inf), (math.nan, math.nan)]
    )
    def test_a_finite_norm_stays_finite_beside_whatever_else(self, worst, kept):
        packed = float32_vector([1e39, worst], math.hypot(1e39, worst)).tolist()
        assert packed == pytest.approx([FLOAT32_MAX, kept], nan_ok=True)


class TestSinglePrecision:
    def sent(self, *norms: float) -> list[float]:
        frames = [frame(step, global_norm=norm) for step, norm in enumerate(norms)]
        body = encode_chunk(Chunk(ATTEMPT_ID, "main", LAYOUT, 0, frames))
        return np.frombuffer(msgspec.msgpack.decode(body)["global_norm"], "<f4").tolist()

    def test_a_finite_number_stays_finite(self):
        assert self.sent(1e39, -1e300, 1.5) == [FLOAT32_MAX, -FLOAT32_MAX, 1.5]

    def test_infinity_and_nan_stay_what_they_are(self):
        assert self.sent(math.inf, -math.inf, math.nan, 1e39) == pytest.approx(
            [math.inf, -math.inf, math.nan, FLOAT32_MAX], nan_ok=True
        )
