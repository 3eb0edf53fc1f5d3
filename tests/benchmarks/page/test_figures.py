"""The arithmetic of the page's benchmark, by hand; the browser is not started."""

import importlib
import sys

import pytest
from benchmarks.page.asking import Recording, absolute, record, relative
from benchmarks.page.figures import percentile, row


class TestPercentile:
    def test_is_a_value_that_was_measured(self) -> None:
        values = [float(value) for value in range(100, 0, -1)]
        assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)

    def test_of_few_values_is_the_worst_of_them(self) -> None:
        assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


class TestRow:
    def test_says_whether_the_figure_that_counts_meets_its_target(self) -> None:
        assert row("paint", "ms", [900.0, 950.0, 1200.0], 1000)["met"] == "yes"
        assert row("zoom", "ms", [200.0, 250.0, 310.0], 300, "worst")["met"] == "NO"

    def test_claims_nothing_where_nothing_was_measured_or_is_aimed_at(self) -> None:
        assert row("heat map", "ms", [], 1500)["met"] is None
        assert row("frames", "ms", [5000.0], None)["met"] is None


class TestRecording:
    def test_parts_what_opens_a_page_from_what_it_asks_later(self) -> None:
        asked = [(0.1, "/dashboard"), (6.0, "/layers"), (9.0, "/layers"), (80.0, "/layers")]
        recording = record(asked, opening_seconds=5.0, seconds=60.0)
        assert recording == Recording(60.0, ("/dashboard",), ((1.0, "/layers"), (4.0, "/layers")))

    def test_is_repeated_from_any_phase_for_as_long_as_asked(self) -> None:
        recording = Recording(10.0, (), ((1.0, "/a"), (7.0, "/b")))
        repeated = list(recording.repeated(phase=5.0, seconds=20.0))
        assert repeated == [(2.0, "/b"), (6.0, "/a"), (12.0, "/b"), (16.0, "/a")]

    def test_of_a_page_that_asks_nothing_is_over_at_once(self) -> None:
        assert list(Recording(10.0, ("/a",), ()).repeated(0.0, 60.0)) == []

    def test_a_page_that_reads_only_what_is_new_goes_on_doing_so(self) -> None:
        asked = relative("/layers/heatmap?points=8&from_step=1336", 1376)
        assert absolute(asked, 2000) == "/layers/heatmap?points=8&from_step=1960"
        assert absolute(asked, 10) == "/layers/heatmap?points=8&from_step=0"
        assert absolute(relative("/series?points=1000", 5), 9) == "/series?points=1000"


def test_it_explains_itself_and_refuses_a_figure_that_there_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question = importlib.import_module("benchmarks.page.__main__")
    for argument, code, said in (("--help", 0, "How fast is the page"), ("speed", 2, "there is no figure speed")):
        monkeypatch.setattr(sys, "argv", ["page", argument])
        with pytest.raises(SystemExit) as ended:
            question.main()
        assert ended.value.code == code
        told = capsys.readouterr()
        assert said in told.out + told.err
