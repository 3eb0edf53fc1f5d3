"""Memory that a request has used is there for the next one."""

import resource
import subprocess
import sys

import pytest

from gradvitals_service.allocator import keep_freed_memory

A_REQUEST = "sum(len(some) for some in [b'x' * 3_000_000 for _ in range(4)])"
FAULTS = "resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
# Ten requests after the first one, and how often the kernel was asked for a page meanwhile.
COUNT_FAULTS = f"""
import resource
from gradvitals_service.allocator import keep_freed_memory
keep_freed_memory()
{A_REQUEST}
before = {FAULTS}
for _ in range(10):
    {A_REQUEST}
print({FAULTS} - before)
"""


def has_glibc() -> bool:
    return sys.platform.startswith("linux") and keep_freed_memory()


@pytest.mark.skipif(not has_glibc(), reason="only glibc gives freed memory back at once")
def test_twelve_megabytes_are_faulted_in_once() -> None:
    told = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True).stdout
    assert int(told) * resource.getpagesize() < 12_000_000
