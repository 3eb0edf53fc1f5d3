"""How many bytes does a value take on the disk once it is compacted, all in?

A run of 200 layers and four scalars is put into a SQLite file of its own, in chunks of 256 frames, and compacted by the
service's own compactor and writer (``benchmarks.store`` says what the frames are). The whole file is counted: indexes,
buckets for charts, norms of the weights, free pages. Every frame is read back and compared, bit for bit, so that the
figure is one of lossless storage. CPU time is that of compaction, which the ingest does not wait for.
"""

import argparse
import time

import numpy as np

from benchmarks.report import report
from benchmarks.store import CHUNK, LAYERS, VALUES, Frames, Store, store
from gradvitals_service.series.history import frames_from

FRAMES = 131_072
TARGET = 3.8


def check_lossless(made: Store) -> None:
    """Every frame is there once, with the bits that it had."""
    expected, position = Frames(), 0
    with made.session_factory.begin() as session:
        for stored in frames_from(session, made.key, 0):
            for first, part in stored.decode(LAYERS):
                if first != position:
                    raise RuntimeError(f"frame {position} is missing")
                position += len(part)
                for start in range(0, len(part), CHUNK):
                    n = min(CHUNK, len(part) - start)
                    wanted = expected.take(n)
                    same = np.array_equal(wanted.layer_norms, part.layer_norms[start : start + n])
                    for name, values in wanted.columns.items():
                        same &= np.array_equal(values, part.columns[name][start : start + n])
                    if not same:
                        raise RuntimeError(f"frames from {first + start} have changed")
    if position != made.next_frame:
        raise RuntimeError(f"{position} frames where {made.next_frame} were stored")


def measure(frames: int) -> list[dict[str, object]]:
    """The size before and after compaction."""
    with store() as made:
        made.add(frames, compacting=False)
        before = made.size_bytes() / frames / VALUES
        started = time.process_time()
        made.finish()
        cpu = time.process_time() - started
        after = made.vacuumed_bytes() / frames / VALUES
        check_lossless(made)
    with store() as made:
        made.add(frames)
        made.finish()
        beside = made.size_bytes() / frames / VALUES
    values = frames * VALUES
    rows: list[dict[str, object]] = [
        {"figure": "chunks of 256 frames, not compacted", "bytes a value": before, "target": None},
        {"figure": "compacted beside the ingest, free pages too", "bytes a value": beside, "target": TARGET},
        {"figure": "compacted at once, free pages given back", "bytes a value": after, "target": TARGET},
    ]
    return [row | {"frames": frames, "compaction, ns a value": cpu / values * 1e9} for row in rows]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    report("storage", "Bytes on disk for each of 204 values a step, lossless", measure(parser.parse_args().frames))


if __name__ == "__main__":
    main()
