"""What is sent next of what is spooled: joined, cut, rewound and given up, each frame exactly once."""

from __future__ import annotations

import random

import pytest
from client.building import ATTEMPT_ID, LAYOUT, OTHER_LAYOUT, frame

from gradvitals import MemoryTransport
from gradvitals.backlog import CHUNK, Backlog, Segment
from gradvitals.frames import Chunk, LostRange, decode_chunk, encode_chunk, read_head, recut, without_layers
from gradvitals.segments import SegmentFile

LAYOUTS = {layout.layout_id: layout for layout in (LAYOUT, OTHER_LAYOUT)}


def made(first: int, n: int, *, layout=LAYOUT, lost=(), monitor="main") -> Chunk:
    frames = [frame(step, layout=layout) for step in range(first, first + n)]
    for made_frame in frames:
        made_frame.loss = float(made_frame.step)
        if made_frame.step % 3 == 0:
            made_frame.scalars["accuracy"] = made_frame.step / 7
        if made_frame.step % 4 == 0:
            made_frame.param_norms = made_frame.layer_norms * made_frame.step
        if made_frame.step % 5 == 0:
            made_frame.batch_id = f"batch {made_frame.step}"
    return Chunk(ATTEMPT_ID, monitor, layout, first, frames, lost)


def plain(frames) -> list[tuple]:
    """Frames as something that can be compared."""
    return [
        (
            f.step,
            f.loss,
            list(f.layer_norms),
            None if f.param_norms is None else list(f.param_norms),
            f.scalars,
            f.batch_id,
        )
        for f in frames
    ]


class TestRecutting:
    def test_joined_and_cut_chunks_hold_the_same_frames(self):
        bodies = [encode_chunk(made(first, 5)) for first in (0, 5, 10)]
        for first, end in ((0, 15), (3, 12), (5, 10), (7, 8), (0, 1), (14, 15)):
            chosen = [body for body in bodies if read_head(body).end > first and read_head(body).first < end]
            chunk = decode_chunk(recut(chosen, first, end, ()), LAYOUTS)
            assert (chunk.first, chunk.end) == (first, end)
            assert plain(chunk.frames) == plain(made(first, end - first).frames)

    def test_a_chunk_cut_anew_is_what_would_have_been_encoded(self):
        bodies = [encode_chunk(made(first, 5)) for first in (0, 5)]
        assert recut(bodies, 2, 9, (LostRange(0, 2, "quota"),)) == encode_chunk(
            made(2, 7, lost=(LostRange(0, 2, "quota"),))
        )

    def test_without_its_layers_a_chunk_keeps_every_frame(self):
        body = without_layers(encode_chunk(made(0, 10)))
        backlog = Backlog(ATTEMPT_ID)
        chunk = decode_chunk(body, backlog.layouts)
        assert [(f.step, f.loss, f.batch_id) for f in chunk.frames] == [
            (f.step, f.loss, f.batch_id) for f in made(0, 10).frames
        ]
        assert all(len(f.layer_norms) == 0 for f in chunk.frames)


def declare(service: MemoryTransport) -> None:
    service.runs["run"] = {}
    service.attempts[ATTEMPT_ID] = {}
    service.layouts |= LAYOUTS | Backlog(ATTEMPT_ID).layouts


@pytest.fixture
def service() -> MemoryTransport:
    transport = MemoryTransport()
    declare(transport)
    return transport


def add(backlog: Backlog, chunk: Chunk) -> None:
    body = encode_chunk(chunk)
    backlog.add(read_head(body), chunk.layout, body)


def store(backlog: Backlog, path) -> Segment:
    """Write all that is in memory to a new file."""
    file, segment = SegmentFile(path), Segment(path)
    while (entry := backlog.in_no_file()) is not None:
        backlog.is_stored(entry, segment, file.append(CHUNK, entry.body))
    file.close()
    return segment


def send_all(backlog: Backlog, service: MemoryTransport, most=None) -> list[int]:
    """The number of frames of each request."""
    sizes = []
    while (chunk := backlog.take(most or {})) is not None:
        backlog.acknowledge(chunk, service.send_chunk("run", chunk.encode()).next)
        sizes.append(chunk.n)
    return sizes


def steps(service: MemoryTransport, monitor="main") -> list[int]:
    return [f.step for f in service.frames(monitor)]


class TestSending:
    def test_small_chunks_that_wait_are_sent_as_one(self, service, tmp_path):
        backlog = Backlog(ATTEMPT_ID)
        for first in range(0, 100, 5):
            add(backlog, made(first, 5))
        store(backlog, tmp_path / "1.chunks")
        assert send_all(backlog, service) == [100]
        assert plain(service.frames()) == plain(made(0, 100).frames)

    def test_another_layout_is_another_request(self, service):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 5))
        add(backlog, made(5, 5, layout=OTHER_LAYOUT))
        assert send_all(backlog, service) == [5, 5]

    def test_no_more_frames_than_asked_for(self, service):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        assert send_all(backlog, service, {"main": 4}) == [4, 4, 2]
        assert plain(service.frames()) == plain(made(0, 10).frames)

    def test_what_was_lost_before_goes_with_the_frames_behind_it(self, service):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(3, 2, lost=(LostRange(0, 3, "queue_full", 0, 2),)))
        assert send_all(backlog, service) == [2]
        assert service.lost() == [LostRange(0, 3, "queue_full", 0, 2)]

    def test_frames_given_up_one_by_one_are_lost_and_the_others_arrive(self, service):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        for index in (0, 1, 4, 9):
            while (chunk := backlog.take({"main": 1})).first < index:
                backlog.acknowledge(chunk, service.send_chunk("run", chunk.encode()).next)
            backlog.lose("main", LostRange(index, 1, "refused"))
        send_all(backlog, service)
        assert steps(service) == [2, 3, 5, 6, 7, 8]
        assert [(gap.first, gap.n) for gap in service.lost()] == [(0, 2), (4, 1), (9, 1)]

    def test_two_monitors_share_a_file(self, service, tmp_path):
        backlog = Backlog(ATTEMPT_ID)
        for first in (0, 5):
            add(backlog, made(first, 5))
            add(backlog, made(first, 5, monitor="critic"))
        segment = store(backlog, tmp_path / "1.chunks")
        send_all(backlog, service)
        assert steps(service) == steps(service, "critic") == list(range(10))
        assert backlog.done() == [segment]


class TestServicesThatForget:
    def test_one_that_holds_less_gets_what_is_still_here(self, service, tmp_path):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        store(backlog, tmp_path / "1.chunks")
        send_all(backlog, service)
        service.forget(keep=4)
        declare(service)
        assert backlog.rewind("main", 4)
        send_all(backlog, service)
        assert steps(service) == list(range(10))
        assert service.lost() == []

    def test_and_a_gap_for_what_is_not(self, service, tmp_path):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        segment = store(backlog, tmp_path / "1.chunks")
        send_all(backlog, service)
        assert backlog.drop(segment) == []
        add(backlog, made(10, 5))
        service.forget(keep=4)
        declare(service)
        assert backlog.rewind("main", 4)
        send_all(backlog, service)
        assert steps(service) == [0, 1, 2, 3, 10, 11, 12, 13, 14]
        assert service.lost() == [LostRange(4, 6, "rewound")]

    def test_one_that_holds_more_is_believed(self):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        assert backlog.rewind("main", 7)
        assert backlog.take({}).first == 7

    @pytest.mark.parametrize("next", [0, 11])
    def test_one_that_says_what_cannot_be_changes_nothing(self, next):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        assert not backlog.rewind("main", next)


class TestTrouble:
    def test_in_memory_the_oldest_are_given_up_beyond_10_000_frames(self, service):
        backlog = Backlog(ATTEMPT_ID)
        for first in range(0, 10_500, 250):
            add(backlog, Chunk(ATTEMPT_ID, "main", LAYOUT, first, [frame(first + k) for k in range(250)]))
        send_all(backlog, service)
        assert steps(service) == list(range(500, 10_500))
        assert service.lost() == [LostRange(0, 500, "queue_full")]

    def test_a_file_over_the_quota_is_a_counted_gap(self, service, tmp_path):
        backlog = Backlog(ATTEMPT_ID)
        add(backlog, made(0, 10))
        first = store(backlog, tmp_path / "1.chunks")
        add(backlog, made(10, 10))
        store(backlog, tmp_path / "2.chunks")
        assert backlog.drop(first) == [("main", LostRange(0, 10, "quota"))]
        send_all(backlog, service)
        assert steps(service) == list(range(10, 20))
        assert service.lost() == [LostRange(0, 10, "quota")]

    def test_damaged_chunks_are_a_gap_and_the_rest_arrives(self, service, tmp_path):
        backlog = Backlog(ATTEMPT_ID)
        for first in (0, 10, 20):
            add(backlog, made(first, 10))
        path = tmp_path / "1.chunks"
        store(backlog, path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1  # in the second
        path.write_bytes(data)
        again = Backlog(ATTEMPT_ID)
        again.layouts |= LAYOUTS
        again.adopt(path)
        send_all(again, service)
        assert steps(service) == [*range(10), *range(20, 30)]
        assert [(gap.first, gap.n, gap.reason) for gap in service.lost()] == [(10, 10, "damaged")]
        assert again.damaged > 0

    def test_a_file_that_somebody_else_has_sent_and_deleted_holds_nothing_up(self, tmp_path, service):
        backlog = Backlog(ATTEMPT_ID)
        backlog.layouts |= LAYOUTS
        for number, first in enumerate((0, 10)):
            writer = Backlog(ATTEMPT_ID)
            add(writer, made(first, 10))
            store(writer, tmp_path / f"{number}.chunks")
            backlog.adopt(tmp_path / f"{number}.chunks")
        service.send_chunk("run", encode_chunk(made(0, 10)))
        (tmp_path / "0.chunks").unlink()
        send_all(backlog, service)
        assert steps(service) == list(range(20))

    @pytest.mark.parametrize("seed", range(5))
    def test_any_mix_of_files_memory_limits_and_rewinds_delivers_every_frame_once(self, seed, service, tmp_path):
        chance = random.Random(seed)
        backlog, total = Backlog(ATTEMPT_ID), 0
        for number in range(60):
            n = chance.randrange(1, 20)
            add(backlog, made(total, n))
            total += n
            if chance.random() < 0.5:
                store(backlog, tmp_path / f"{number:03}.chunks")
            for _ in range(chance.randrange(4)):
                chunk = backlog.take({"main": chance.randrange(1, 30)})
                if chunk is not None:
                    next = service.send_chunk("run", chunk.encode()).next
                    if chance.random() < 0.8:  # else the answer is lost
                        backlog.acknowledge(chunk, next)
        send_all(backlog, service)
        assert plain(service.frames()) == plain(made(0, total).frames)
