"""Checkpoints over HTTP: declared as often as a client likes, judged by what became of the run."""

from typing import Any
from uuid import uuid4

import pytest
from service.speaking import ServiceUnderTest, Speaker

NAN = float("nan")


def blow_up(run: Speaker, step: int) -> None:
    """One step whose gradient is not finite and which was not skipped."""
    run.send(step, 1, global_norm=[NAN], layer_norms=[NAN, 4.0], flags=[3])


def listed(run: Speaker) -> list[tuple[int, bool]]:
    """(step, clean) of each checkpoint, as a reader is told."""
    return [(found["step"], found["clean"]) for found in run.service.get(f"{run.path}/checkpoints")["checkpoints"]]


class TestDeclaring:
    """POST /runs/{run_id}/checkpoints."""

    def test_the_answer_names_the_one_that_must_not_be_deleted(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert run.save() == {"newest_clean": None}
        run.send(0, 20)
        assert run.save(10, 20) == {"newest_clean": {"path": "/checkpoints/20.pt", "step": 20}}
        blow_up(run, 20)
        assert run.save(21) == {"newest_clean": {"path": "/checkpoints/20.pt", "step": 20}}
        assert run.save() == {"newest_clean": {"path": "/checkpoints/20.pt", "step": 20}}

    def test_a_repeat_changes_nothing(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert run.save(10, clean=True) == run.save(10, clean=True)
        assert listed(run) == [(10, True)]

    def test_what_is_saved_to_the_same_place_replaces_what_was_there(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        for step in (10, 20):
            run.save(step, path="/checkpoints/last.pt")
        assert listed(run) == [(20, True)]

    def test_an_older_word_that_comes_late_changes_nothing(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        for step in (20, 10):
            run.save(step, path="/checkpoints/last.pt")
        assert listed(run) == [(20, True)]

    def test_a_client_may_say_later_that_a_checkpoint_is_not_clean(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.save(10)
        run.save(10, clean=False)
        assert listed(run) == [(10, False)]

    def test_what_was_deleted_is_not_told_any_more(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.save(10, 20)
        newest = {"path": "/checkpoints/10.pt", "step": 10}
        assert run.save(deleted=["/checkpoints/20.pt", "/never/heard/of.pt"]) == {"newest_clean": newest}
        assert listed(run) == [(10, True)]

    def test_an_unknown_run_or_attempt_is_404(self, service: ServiceUnderTest) -> None:
        stranger = Speaker(service, uuid4())
        assert stranger.post_checkpoints({}).status_code == 404
        stranger.declare_run()
        refusal = stranger.post_checkpoints({"saved": []})
        assert (refusal.status_code, refusal.json()["error"]) == (404, "not_found")
        assert "declare it again" in refusal.json()["detail"]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"path": ""}, "saved[1].path: Expected `str` of length >= 1"),
            ({"path": "/" + "a" * 4096}, "saved[1].path: Expected `str` of length <= 4096"),
            ({"path": "/a\0"}, "saved[1].path: Expected `str` matching"),
            ({"step": -1}, "saved[1].step: Expected `int` >= 0"),
            ({"steps": {"main": 2**63}}, "saved[1].steps[...]: Expected `int` <= 9223372036854775807"),
            ({"steps": {"": 1}}, "Expected `str` of length >= 1"),
            ({"saved_at": 1e12}, "saved[1].saved_at: Expected `float` < "),
            ({"clean": "yes"}, "saved[1].clean: Expected `bool | null`"),
        ],
    )
    def test_what_is_malformed_is_refused_by_name_and_nothing_is_kept(
        self, service: ServiceUnderTest, changes: dict[str, Any], words: str
    ) -> None:
        run = service.declare_run()
        good = {"path": "/good.pt", "step": 1, "saved_at": 1.0}
        refusal = run.post_checkpoints({"saved": [good, good | changes]})
        assert refusal.status_code == 422
        assert words in refusal.json()["detail"]
        assert listed(run) == []

    def test_more_than_a_thousand_at_once_are_refused(self, service: ServiceUnderTest) -> None:
        refusal = service.declare_run().post_checkpoints({"deleted": ["/a"] * 1001})
        assert (refusal.status_code, refusal.json()["detail"]) == (
            422,
            "deleted: Expected `array` of length <= 1000",
        )

    def test_the_longest_path_in_any_letters_is_kept(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        path = "训" * 4096
        assert run.save(10, path=path) == {"newest_clean": {"path": path, "step": 10}}


class TestReading:
    """GET /runs/{run_id}/checkpoints and what the run's own page shows."""

    def test_each_is_told_as_it_was_declared_and_as_it_is_judged(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.save(10, steps={"main": 10, "critic": 50}, clean=True)
        assert service.get(f"{run.path}/checkpoints") == {
            "checkpoints": [
                {
                    "path": "/checkpoints/10.pt",
                    "step": 10,
                    "steps": {"main": 10, "critic": 50},
                    "attempt_id": str(run.attempt_id),
                    "saved_at": "2026-09-21T14:13:30Z",
                    "reported_clean": True,
                    "clean": True,
                }
            ]
        }

    def test_of_an_unknown_run_there_are_none_to_read(self, service: ServiceUnderTest) -> None:
        path = f"/api/v1/runs/{uuid4()}/checkpoints"
        assert service.client.get(path, headers=service.read).status_code == 404

    def test_the_run_says_which_one_to_resume_from(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert service.get(run.path)["resume_from"] is None
        run.send(0, 20)
        run.save(10, 20)
        assert service.get(run.path)["resume_from"] == {
            "newest_clean": {"path": "/checkpoints/20.pt", "step": 20},
            "not_clean": 0,
        }
        blow_up(run, 20)
        run.save(21, 22)
        assert service.get(run.path)["resume_from"] == {
            "newest_clean": {"path": "/checkpoints/20.pt", "step": 20},
            "not_clean": 2,
        }

    def test_a_step_that_was_skipped_spoils_nothing(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 20)
        run.send(20, 1, global_norm=[NAN], layer_norms=[NAN, 4.0], flags=[1 | 2 | 4])
        run.save(21)
        assert listed(run) == [(21, True)]

    def test_an_explosion_that_reached_the_weights_spoils_until_it_is_over(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 300)
        run.save(280, 300)
        run.send(300, 5, global_norm=[5e6] * 5, layer_norms=[3e6, 4e6] * 5, loss=[50.0] * 5)
        run.save(305)
        assert listed(run) == [(305, False), (300, False), (280, True)]  # 12 steps before the alarm are suspect
        run.send(305, 60)
        run.save(365)
        assert listed(run)[0] == (365, True)
        assert listed(run)[1] == (305, False)

    def test_after_a_resume_from_before_it_the_trouble_is_left_behind(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 30)
        run.save(20)
        blow_up(run, 30)
        run.save(31)
        again = Speaker(service, run.run_id)
        again.heartbeat(started_at=1_790_001_000.0, resumed_from_step=20)
        again.save(40)
        assert listed(run) == [(40, True), (31, False), (20, True)]

    def test_each_run_has_its_own(self, service: ServiceUnderTest) -> None:
        run, other = service.declare_run(), service.declare_run()
        run.save(10)
        assert listed(other) == []
