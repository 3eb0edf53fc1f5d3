"""The gate behind "clipping with us is not slower than without": the benchmark itself, on its two quick networks.

The issue's limit is 1.02 of torch's time in the median, which ``python -m benchmarks.clip_cost`` reports. A test shares
its machine, so it asks for less: 1.10, of the 20th percentiles.
"""

from collections.abc import Iterator

import pytest
import torch
from benchmarks.clip_cost import CONTESTS, measure
from benchmarks.models import SHAPES

GATE = 1.10
ATTEMPTS = 3


@pytest.fixture(autouse=True)
def one_quiet_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU time of this thread is all there is to time. What a benchmark sets in the environment ends with it."""
    monkeypatch.setenv("GRADVITALS_QUIET", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("name", "rounds"), [("gru", 100), ("tiny1000", 20)])
def test_no_way_to_clip_costs_more_than_torchs_way(name: str, rounds: int) -> None:
    """A slow way is slow each time it is measured. One that was only disturbed is quick in one of three attempts."""
    slow: dict[str, list[float]] = {contest.name: [] for contest in CONTESTS if contest.target(name) is not None}
    for _ in range(ATTEMPTS):
        times = measure(SHAPES[name], rounds)
        for contest in CONTESTS:
            if contest.name not in slow:
                continue
            quotient = times[contest.ours].p20 / times[contest.torchs].p20
            if quotient > GATE:
                slow[contest.name].append(quotient)
            else:
                del slow[contest.name]
        if not slow:
            return
    assert not slow, f"ours to torch's 20th percentile, in {ATTEMPTS} attempts"
