"""Files of records: whatever is cut off or changed, the rest is read, and nothing is read wrong."""

from __future__ import annotations

import stat

import pytest

from gradvitals.segments import HEADER, PREFIX_BYTES, Records, SegmentFile, read_file, read_record, replace_file

PAYLOADS = [b"first", b"", b"the third one"]


@pytest.fixture
def path(tmp_path):
    file = SegmentFile(tmp_path / "1.chunks")
    for kind, payload in enumerate(PAYLOADS, 1):
        file.append(kind, payload)
    file.close()
    return file.path


def payloads(data: bytes) -> list[bytes]:
    return [record.payload for record in Records(data)]


def test_what_was_written_is_read_with_its_kind(path):
    assert [(record.kind, record.payload) for record in read_file(path)] == list(enumerate(PAYLOADS, 1))


def test_only_its_owner_can_read_a_file(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_cut_at_any_byte_gives_the_records_before_the_cut_and_no_damage(path):
    data, ends = path.read_bytes(), []
    for payload in PAYLOADS:
        ends.append((ends[-1] if ends else len(HEADER)) + PREFIX_BYTES + len(payload))
    for length in range(len(data) + 1):
        records = Records(data[:length])
        assert [record.payload for record in records] == PAYLOADS[: sum(end <= length for end in ends)]
        assert records.damaged == 0


def test_a_change_of_any_byte_is_found_and_no_changed_record_is_read(path):
    data = path.read_bytes()
    for place in range(len(data)):
        records = Records(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        read = [record.payload for record in records]
        assert records.damaged == 1, place
        assert set(read) < set(PAYLOADS), place


def test_behind_a_changed_payload_the_next_record_is_read(path):
    data = bytearray(path.read_bytes())
    data[len(HEADER) + PREFIX_BYTES] ^= 1
    assert payloads(bytes(data)) == PAYLOADS[1:]


def test_one_record_is_read_where_it_lies(path):
    *_, last = read_file(path)
    assert read_record(path, last.offset, len(last.payload)) == last
    assert read_record(path, last.offset - 1, len(last.payload)) is None


def test_no_file_is_written_over(path):
    with pytest.raises(FileExistsError):
        SegmentFile(path)


def test_a_replaced_file_holds_the_newest_record_only(tmp_path):
    path = tmp_path / "attempt"
    for word in (b"running", b"finished"):
        replace_file(path, 5, word, sync=True)
    assert [record.payload for record in read_file(path)] == [b"finished"]
    assert [found.name for found in tmp_path.iterdir()] == ["attempt"]
