"""Files of records that are only ever appended: whatever cuts one short, what is before the cut can be read.

A file begins with ``HEADER``. A record is a prefix and a payload; the prefix holds the payload's length and CRC32, the
record's kind, and a CRC32 of itself, so that a changed byte anywhere is told from a file that just ends. Nothing is
mapped into memory or locked, and nothing that was written is changed: a file may lie on a network file system and be
read while it grows.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEADER = b"GVSPOOL1"
_FIELDS = struct.Struct("<IIB")  # the payload's length and checksum, and the kind
_CHECK = struct.Struct("<I")  # of the fields
PREFIX_BYTES = _FIELDS.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Record:
    """One record, and where it begins in its file."""

    kind: int
    offset: int
    payload: bytes


class SegmentFile:
    """A new file, mode 0600, that this process alone appends to. Every method may raise OSError: then close it."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self.path = path
        self.size = 0
        self._descriptor = os.open(path, flags, 0o600)
        try:
            self._write(HEADER)
        except OSError:
            self.close()
            raise

    def append(self, kind: int, payload: bytes | bytearray) -> int:
        """Add a record; the offset where it begins. It now outlives this process, and after ``sync`` a power cut."""
        offset = self.size
        fields = _FIELDS.pack(len(payload), zlib.crc32(payload), kind)
        self._write(fields + _CHECK.pack(zlib.crc32(fields)))
        self._write(payload)
        return offset

    def sync(self) -> None:
        """Wait until the disk has everything."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self.size += written
            view = view[written:]


class Records:
    """The records of a file, as far as they can be read. ``damaged`` counts the changed ones that were met so far.

    One whose payload was changed is passed over; behind one whose prefix was changed nothing can be found any more.
    """

    def __init__(self, data: bytes) -> None:
        self.damaged = 0
        self.nbytes = len(data)
        self._data = data

    def __iter__(self) -> Iterator[Record]:
        data, offset = self._data, len(HEADER)
        if data[:offset] != HEADER[: len(data)]:
            self.damaged += 1
            return
        while offset + PREFIX_BYTES <= len(data):
            length = _length_at(data, offset)
            if length is None:
                self.damaged += 1
                return
            end = offset + PREFIX_BYTES + length
            if end > len(data):  # the writer was interrupted here, or is writing
                return
            record = record_at(data, offset)
            if record is None:
                self.damaged += 1
            else:
                yield record
            offset = end


def read_file(path: Path) -> Records:
    """The records of a file; raises OSError where it cannot be read."""
    return Records(path.read_bytes())


def read_record(path: Path, offset: int, length: int) -> Record | None:
    """One record of a file, whose payload has ``length`` bytes; None where it is damaged."""
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        record = record_at(file.read(PREFIX_BYTES + length), 0)
    return None if record is None else Record(record.kind, offset, record.payload)


def record_at(data: bytes, offset: int) -> Record | None:
    """The record that begins at ``offset``; None where there is no whole and unchanged one."""
    length = _length_at(data, offset)
    if length is None:
        return None
    _, checksum, kind = _FIELDS.unpack_from(data, offset)
    payload = data[offset + PREFIX_BYTES : offset + PREFIX_BYTES + length]
    return Record(kind, offset, payload) if len(payload) == length and zlib.crc32(payload) == checksum else None


def replace_file(path: Path, kind: int, payload: bytes, *, sync: bool) -> None:
    """Put a file of one record in another's place, which stays whole until then; ``sync`` to survive a power cut."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    file = SegmentFile(new)
    try:
        file.append(kind, payload)
        if sync:
            file.sync()
    finally:
        file.close()
    os.replace(new, path)


def _length_at(data: bytes, offset: int) -> int | None:
    """How long the payload of the record at ``offset`` is; None where its prefix is damaged or cut short."""
    if offset + PREFIX_BYTES > len(data):
        return None
    fields = data[offset : offset + _FIELDS.size]
    (check,) = _CHECK.unpack_from(data, offset + _FIELDS.size)
    (length, _, _) = _FIELDS.unpack(fields)
    return int(length) if zlib.crc32(fields) == check else None
