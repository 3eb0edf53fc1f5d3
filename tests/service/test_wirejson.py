"""JSON out: a number that is not finite is its word, and everything else keeps its value."""

import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from gradvitals_service.wirejson import encode


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (0.1, "0.1"),
        (None, "null"),
        (True, "true"),
        (2**128, str(2**128)),
        (-(2**63), str(-(2**63))),
        ("text", '"text"'),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (np.array([1.0, math.nan]), '[1.0,"NaN"]'),
        ({"a": (1, [math.inf])}, '{"a":[1,["Infinity"]]}'),
        ({1: 2}, '{"1":2}'),
        (UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (datetime(2026, 9, 21, 12, tzinfo=UTC), '"2026-09-21T12:00:00Z"'),
    ],
)
def test_values_are_written_as_the_wire_says(value: Any, written: str) -> None:
    assert encode(value).decode() == written


def test_what_is_written_is_json_that_a_browser_reads() -> None:
    body = encode({"norms": np.array([np.nan, np.inf, 1.0], np.float32)})
    assert json.loads(body, parse_constant=pytest.fail) == {"norms": ["NaN", "Infinity", 1.0]}
