"""Two processes that train one run as the same rank: noticed from the order of their heartbeats alone."""

from uuid import UUID, uuid4

import pytest

from gradvitals_service.health.holders import MOST_PLACES, Holders

RUN = uuid4()
FIRST, SECOND, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)
NOBODY: frozenset[tuple[UUID, UUID]] = frozenset()


class Rank:
    """One rank of one run: what is noticed when attempts say, one after the other, how far they are."""

    def __init__(self) -> None:
        self.now = 0.0
        self.holders = Holders(lambda: self.now)
        self.may_be_over = False

    def hear(self, *said: tuple[UUID, int], ends: bool = False) -> frozenset[tuple[UUID, UUID]]:
        """One heartbeat a second; gives what holds after the last of them."""
        pairs = NOBODY
        for attempt, step in said:
            self.now += 1.0
            pairs, self.may_be_over = self.holders.hear(RUN, 0, attempt, (step, step), ends=ends)
        return pairs


@pytest.fixture
def rank() -> Rank:
    return Rank()


def test_two_that_both_go_on_are_noticed_at_the_second_ones_second_step(rank: Rank) -> None:
    assert rank.hear((FIRST, 10), (SECOND, 0), (FIRST, 20), (SECOND, 5)) == NOBODY
    assert rank.hear((FIRST, 30)) == {(FIRST, SECOND)}


def test_one_that_is_started_again_right_after_a_kill_is_no_second_one(rank: Rank) -> None:
    assert rank.hear((FIRST, 10), (FIRST, 20), (SECOND, 15), (SECOND, 25), (SECOND, 35), (SECOND, 45)) == NOBODY


def test_a_dead_one_whose_rest_is_sent_by_another_is_no_second_one(rank: Rank) -> None:
    """Its count jumps once, over what it had not sent, and then stands still however long that takes."""
    assert rank.hear((FIRST, 10), (SECOND, 0), (FIRST, 90), (SECOND, 5)) == NOBODY
    assert rank.hear((FIRST, 90), (SECOND, 10), (FIRST, 90), (SECOND, 15)) == NOBODY


def test_one_that_waits_beside_another_is_noticed_when_it_goes_on(rank: Rank) -> None:
    assert rank.hear((FIRST, 10), (SECOND, 0), (FIRST, 10), (SECOND, 5), (FIRST, 10), (SECOND, 10)) == NOBODY
    assert rank.hear((FIRST, 20)) == {(FIRST, SECOND)}


def test_ranks_and_runs_are_apart() -> None:
    holders = Holders()
    for step in range(5):
        assert holders.hear(RUN, 0, FIRST, (step, step), ends=False).pairs == NOBODY
        assert holders.hear(RUN, 1, SECOND, (step, step), ends=False).pairs == NOBODY
        assert holders.hear(THIRD, 0, SECOND, (step, step), ends=False).pairs == NOBODY


def train_at_once(rank: Rank, *attempts: UUID) -> frozenset[tuple[UUID, UUID]]:
    return rank.hear(*((attempt, step) for step in range(4) for attempt in attempts))


def test_it_is_over_when_one_of_them_ends(rank: Rank) -> None:
    assert train_at_once(rank, FIRST, SECOND) == {(FIRST, SECOND)}
    assert not rank.may_be_over
    assert rank.hear((SECOND, 4), ends=True) == NOBODY
    assert rank.may_be_over


def test_it_is_over_when_one_of_them_is_silent_for_half_a_minute(rank: Rank) -> None:
    train_at_once(rank, FIRST, SECOND)
    rank.now += 29.0
    assert rank.hear((FIRST, 5)) == {(FIRST, SECOND)}
    assert rank.hear((FIRST, 6)) == NOBODY
    assert rank.may_be_over


def test_a_third_one_makes_a_pair_with_the_first(rank: Rank) -> None:
    assert train_at_once(rank, FIRST, SECOND, THIRD) == {(FIRST, SECOND), (FIRST, THIRD)}


def test_after_a_restart_of_the_service_what_was_noticed_before_may_be_over_once(rank: Rank) -> None:
    said = []
    for step in range(40):
        rank.hear((FIRST, step))
        said.append(rank.may_be_over)
    assert said.index(True) == 31
    assert sum(said) == 1


def test_memory_is_bounded() -> None:
    holders = Holders()
    for _ in range(MOST_PLACES + 10):
        holders.hear(uuid4(), 0, FIRST, (0, 0), ends=False)
    assert len(holders._places) == MOST_PLACES
