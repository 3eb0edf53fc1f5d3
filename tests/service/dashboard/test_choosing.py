"""Which runs the overview shows: whose, of what tag and group, what else could be asked for, and in which groups."""

import getpass

import pytest
from service.dashboard.test_overview import blow_up, names, overview
from service.speaking import ServiceUnderTest


def choices(service: ServiceUnderTest, facet: str, **asked: str) -> dict[str, int]:
    """What one filter can ask for, with the number of runs."""
    found = service.get("/api/v1/dashboard/facets", **asked)[facet]
    return {choice["value"]: choice["runs"] for choice in found}


def groups(service: ServiceUnderTest, by: str, **asked: str) -> dict[str, int]:
    """The groups in their order, with the number of runs."""
    found = service.get("/api/v1/dashboard/groups", by=by, **asked)["groups"]
    return {group["value"]: group["runs"] for group in found}


@pytest.fixture
def team(service: ServiceUnderTest) -> ServiceUnderTest:
    """Four runs of two people; nobody said whose the last is."""
    service.declare_run(name="a", project="lm", owner="ada", group="sweep", tags=["prod", "seed-1"])
    service.declare_run(name="b", project="lm", owner="grace", group="sweep", tags=["prod"])
    service.declare_run(name="c", project="vision", owner="ada", tags=["seed-1"])
    service.declare_run(name="d", project="vision")
    return service


class TestFilters:
    def test_owner_group_and_tag_choose_runs(self, team: ServiceUnderTest):
        assert sorted(names(team, owner="ada")) == ["a", "c"]
        assert sorted(names(team, group="sweep")) == ["a", "b"]
        assert sorted(names(team, tag="prod")) == ["a", "b"]
        assert names(team, owner="ada", tag="prod") == ["a"]
        assert overview(team, tag="prod")["totals"]["unknown"] == 2

    def test_an_empty_word_chooses_runs_that_have_none(self, team: ServiceUnderTest):
        assert names(team, owner="") == ["d"]
        assert sorted(names(team, group="")) == ["c", "d"]
        assert names(team, tag="") == ["d"]

    def test_a_tag_is_the_whole_tag_as_it_is_spelled(self, service: ServiceUnderTest):
        spelled = ("Prod", "prod-2", '"prod"', "größe", "100%", "a, b", "\\")
        for tag in ("prod", *spelled):
            service.declare_run(name=tag, tags=["x", tag])
        for tag in ("prod", *spelled):
            assert names(service, tag=tag) == [tag]

    def test_a_page_can_ask_for_its_viewers_runs(self, service: ServiceUnderTest):
        viewer = overview(service)["viewer"]
        assert viewer == getpass.getuser()
        service.declare_run(name="mine", owner=viewer)
        service.declare_run(name="hers", owner="ada")
        assert names(service, owner=viewer) == ["mine"]


class TestFacets:
    def test_count_what_each_filter_could_ask_for(self, team: ServiceUnderTest):
        assert choices(team, "project") == {"lm": 2, "vision": 2}
        assert choices(team, "owner") == {"ada": 2, "grace": 1, "": 1}
        assert choices(team, "group") == {"sweep": 2, "": 2}
        assert choices(team, "tag") == {"prod": 2, "seed-1": 2, "": 1}
        assert choices(team, "state") == {"running": 4}
        assert choices(team, "health") == {"unknown": 4}

    def test_count_under_the_other_filters_so_that_another_choice_can_be_made(self, team: ServiceUnderTest):
        assert choices(team, "owner", project="vision") == {"ada": 1, "": 1}
        assert choices(team, "project", project="vision") == {"lm": 2, "vision": 2}
        assert choices(team, "project", q="seed-1") == {"lm": 1, "vision": 1}

    def test_name_what_was_asked_for_first_even_where_nothing_is_left(self, team: ServiceUnderTest):
        assert list(choices(team, "tag", owner="grace", tag="seed-1").items()) == [("seed-1", 0), ("prod", 1)]


class TestGroups:
    def test_are_sorted_by_need_and_then_by_who_was_heard_of_last(self, service: ServiceUnderTest):
        sick = service.declare_run(project="sick")
        service.declare_run(project="calm")
        service.declare_run(project="late")
        blow_up(sick, 0)
        service.declare_run(project="late")
        assert list(groups(service, "project").items()) == [("sick", 1), ("late", 2), ("calm", 1)]
        (first, *_) = service.get("/api/v1/dashboard/groups", by="project")["groups"]
        assert (first["totals"]["critical"], first["totals"]["unknown"]) == (1, 0)

    def test_hold_a_run_once_for_each_of_its_tags_under_the_same_filters(self, team: ServiceUnderTest):
        assert groups(team, "tag") == {"prod": 2, "seed-1": 2, "": 1}
        assert groups(team, "owner", project="lm") == {"ada": 1, "grace": 1}
        assert groups(team, "group", owner="ada") == {"sweep": 1, "": 1}

    def test_each_open_as_the_page_that_their_word_filters(self, team: ServiceUnderTest):
        for by in ("project", "tag", "group", "owner"):
            for word, runs in groups(team, by).items():
                assert len(names(team, **{by: word})) == runs

    def test_need_a_word_for_what_their_runs_share(self, service: ServiceUnderTest):
        answer = service.client.get("/api/v1/dashboard/groups", params={"by": "name"}, headers=service.read)
        assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (422, "query.by")


class TestMarks:
    def test_of_a_run_are_its_newest_events_open_or_not(self, service: ServiceUnderTest, make_event):
        run = service.declare_run()
        for number in range(10):
            make_event(run, start_step=number, severity="warning", status="resolved")
        opened = make_event(run, start_step=99)
        recent = overview(service)["runs"][0]["recent_events"]
        assert len(recent) == 8
        assert recent[0]["event_id"] == str(opened.event_id)
        assert [mark["start_step"] for mark in recent] == [99, *range(9, 2, -1)]
