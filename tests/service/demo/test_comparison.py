"""The table that ends the demonstration."""

import pytest

from gradvitals_service.demo.comparison import Outcome, Reader, lay_out, number, read_outcome

LOST = Outcome("without clipping", "NaN", "1.09e+18, then non-finite", "explosion at step 1916", "0%", "2032")
SAVED = Outcome("with clipping", "0.000209", "3.28", "none", "57%", "4000")


class FakeReader(Reader):
    """Answers from a table instead of a service."""

    def __init__(self, answers: dict[str, object]) -> None:
        super().__init__("http://127.0.0.1:1", "gv_read")
        self.answers = answers

    def get(self, path: str, **query: object) -> object:
        return self.answers[path]


def series(norm: float | None, non_finite: int, clip_rate: float | None) -> dict[str, object]:
    return {
        "frames": 40,
        "series": {
            "global_norm": {"max": [norm], "non_finite": [non_finite]},
            "clip_rate": {"mean": [clip_rate]},
        },
    }


def test_the_outcomes_stand_side_by_side() -> None:
    assert lay_out([LOST, SAVED]).splitlines() == [
        "                without clipping            with clipping",
        "  steps         2032                        4000",
        "  final loss    NaN                         0.000209",
        "  largest norm  1.09e+18, then non-finite   3.28",
        "  first event   explosion at step 1916      none",
        "  clip rate     0%                          57%",
    ]


def test_only_the_titles_are_emphasized() -> None:
    titles, *lines = lay_out([LOST, SAVED], lambda line: f"*{line}*").splitlines()
    assert titles.startswith("*")
    assert not any("*" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "unknown"), ("NaN", "NaN"), ("Infinity", "Infinity"), (0.0, "0"), (0.00020931, "0.000209")],
)
def test_a_number_of_the_wire_is_shown_in_three_digits_or_in_its_word(value: float | str | None, shown: str) -> None:
    assert number(value) == shown


def test_the_earliest_event_and_the_largest_finite_norm_are_told() -> None:
    events = [{"kind": "non_finite", "start_step": 31}, {"kind": "explosion", "start_step": 12}]
    reader = FakeReader({"/api/v1/runs/a/series": series(2.5e9, 3, 0.0), "/api/v1/runs/a/events": {"events": events}})
    outcome = read_outcome(reader, "without", {"run_id": "a", "loss": "NaN"})
    assert outcome == Outcome("without", "NaN", "2.5e+09, then non-finite", "explosion at step 12", "0%", "40")


def test_a_run_without_frames_and_events_is_told_as_unknown() -> None:
    reader = FakeReader({"/api/v1/runs/a/series": series(None, 0, None), "/api/v1/runs/a/events": {"events": []}})
    outcome = read_outcome(reader, "with", {"run_id": "a", "loss": None})
    assert outcome == Outcome("with", "unknown", "unknown", "none", "unknown", "40")
