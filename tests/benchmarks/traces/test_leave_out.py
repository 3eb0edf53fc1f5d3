"""Constants are chosen on the other runs, put in place while a run is judged, and put back."""

from benchmarks.traces.leave_out import AS_IS, Choice, best, chosen, constants, left_out, variations
from benchmarks.traces.scoring import KINDS, Tallies, Tally

from gradvitals_service.health.detectors import explosion, pauses, silence

WIDER: Choice = (("LARGE", 4.0),)
LONGER: Choice = (("WATCH_FRAMES", 24),)


def tallies(mistakes: int) -> Tallies:
    return {kind: Tally(missed=[("run", 0)] * mistakes if kind == "explosion" else []) for kind in KINDS}


def table(as_is: int, wider: int, longer: int) -> dict[Choice, Tallies]:
    return {AS_IS: tallies(as_is), WIDER: tallies(wider), LONGER: tallies(longer)}


def test_the_variation_with_the_fewest_mistakes_elsewhere_is_chosen():
    assert best([table(3, 1, 2), table(0, 0, 0)]) == WIDER
    assert best([table(3, 1, 2), table(0, 2, 0)]) == LONGER


def test_a_tie_leaves_all_as_it_is():
    assert best([table(1, 1, 1)]) == AS_IS


def test_what_is_left_out_has_no_say_and_neither_have_runs_of_its_part():
    tables = {"a": table(0, 5, 5), "b": table(2, 1, 2), "c": table(2, 2, 2)}
    assert left_out(tables, {name: name for name in tables}) == {"a": WIDER, "b": AS_IS, "c": AS_IS}
    assert left_out(tables, {"a": "lr", "b": "other", "c": "lr"})["c"] == WIDER


def test_a_chosen_constant_holds_wherever_it_is_used_and_only_meanwhile():
    before = pauses.PATIENCE
    with chosen((("PATIENCE", 7), *WIDER)):
        assert (pauses.PATIENCE, silence.PATIENCE, explosion.LARGE) == (7, 7, 4.0)
    assert (before, before) == (pauses.PATIENCE, silence.PATIENCE)


def test_every_number_that_detectors_judge_by_is_halved_and_doubled():
    assert {"LARGE", "FALLEN", "PATIENCE", "SILENT_BLOCKS"} <= set(constants())
    assert "MOST_GROUPS_TOLD" not in constants()
    assert len(variations()) == 1 + 2 * len(constants())
    assert (("LARGE", explosion.LARGE / 2),) in variations()
