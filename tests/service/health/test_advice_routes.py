"""Advice over HTTP."""

import math
from uuid import uuid4

import pytest
from service.speaking import ServiceUnderTest, Speaker

NAN = math.nan
# Of the healthy steps, from 64 on: half have a norm of 0.75, the others of 2, and three of 4.
NORMS = [0.75, 2.0] * 250
for spike in (101, 201, 301):
    NORMS[spike] = 4.0


def send(run: Speaker, step: int, norms: list[float], **changes) -> None:
    run.send(step, len(norms), global_norm=norms, **changes)


class TestAdvice:
    def test_suggests_a_threshold_with_the_reason_in_words(self, service: ServiceUnderTest):
        run = service.declare_run()
        send(run, 0, NORMS)
        advice = service.get(f"{run.path}/advice")
        assert advice["suggested_max_norm"] == 2.0
        assert advice["reason"] == (
            "half of the 436 healthy steps have a norm of at most 0.75, 99 of 100 have one of at most 2."
            " 2 would have clipped 0.69 % of them"
        )
        assert (advice["frames"], advice["healthy_frames"], advice["monitor"], advice["rank"]) == (500, 436, "main", 0)

    def test_counts_exactly_what_thresholds_would_have_clipped(self, service: ServiceUnderTest):
        run = service.declare_run()
        send(run, 0, NORMS)
        thresholds = service.get(f"{run.path}/advice", max_norm=[3.999, 0.75, 0.125])["thresholds"]
        told = {row["max_norm"]: (row["clipped"], row["clipped_at_most"], row["healthy_clipped"]) for row in thresholds}
        assert told == {0.125: (500, 500, 436), 0.75: (250, 250, 218), 2.0: (3, 3, 3), 3.999: (0, 3, 0)}
        assert [row["clip_rate"] for row in thresholds] == [1.0, 0.5, 0.006, 0.0]
        assert thresholds[1]["mean_clip_coefficient"] == pytest.approx((250 + 247 * 0.375 + 3 * 0.1875) / 500, rel=0.01)

    def test_gives_the_norms_as_a_histogram(self, service: ServiceUnderTest):
        run = service.declare_run()
        send(run, 0, NORMS)
        assert service.get(f"{run.path}/advice")["histogram"] == {
            "above": [0.749, 1.99, 3.99],
            "up_to": [0.75, 2.0, 4.0],
            "frames": [250, 247, 3],
            "healthy": [218, 215, 3],
        }

    def test_leaves_explosions_and_non_finite_steps_out(self, service: ServiceUnderTest):
        run = service.declare_run()
        norms = list(NORMS)
        norms[400:402] = [1e6, NAN]
        send(run, 0, norms, flags=[2] * 401 + [3] + [2] * 98)
        kinds = {event["kind"] for event in service.get(f"{run.path}/events")["events"]}
        assert kinds == {"explosion", "non_finite"}
        advice = service.get(f"{run.path}/advice")
        assert advice["suggested_max_norm"] == 2.0
        assert advice["reason"].endswith("of them, and the one explosion")
        assert (advice["non_finite"], advice["frames"]) == (1, 499)
        assert advice["healthy_frames"] < 436 - 12

    def test_tells_the_learning_rate_as_it_is_clipped(self, service: ServiceUnderTest):
        run = service.declare_run()
        send(run, 0, [5.0] * 300, max_norm=[0.1] * 300, clip_coefficient=[0.25] * 300)
        advice = service.get(f"{run.path}/advice")
        newest = advice["newest"]
        assert (newest["frames"], newest["max_norm"], newest["clip_rate"]) == (300, 0.1, 1.0)
        assert (newest["lr"], newest["effective_lr"]) == (pytest.approx(0.1), pytest.approx(0.025))
        assert advice["suggested_max_norm"] is None
        assert "the usual step is made with 0.025 in place of 0.1" in advice["reason"]
        assert [row["max_norm"] for row in advice["thresholds"]] == [0.1]

    def test_takes_both_learning_rates_from_the_same_steps(self, service: ServiceUnderTest):
        """Of steps that were not finite nobody can say how much they were clipped; later ones had another rate."""
        run = service.declare_run()
        run.send(0, 40, lr=[0.5] * 40, clip_coefficient=[1.0] * 40)
        run.send(40, 60, lr=[0.1] * 60, clip_coefficient=[NAN] * 60, global_norm=[NAN] * 60, flags=[3] * 60)
        newest = service.get(f"{run.path}/advice")["newest"]
        assert (newest["lr"], newest["effective_lr"]) == (0.5, 0.5)

    def test_counts_the_newest_attempt_where_attempts_overlap(self, service: ServiceUnderTest):
        run = service.declare_run()
        send(run, 0, [1.0] * 300)
        resumed = Speaker(service, run.run_id)
        resumed.heartbeat(started_at=1_790_001_000.0, resumed_from_step=200)
        resumed.send(0, 150, step=list(range(200, 350)), global_norm=[2.0] * 150)
        advice = service.get(f"{run.path}/advice")
        assert advice["histogram"]["frames"] == [200, 150]

    def test_of_a_run_without_frames_says_so(self, service: ServiceUnderTest):
        advice = service.get(f"{service.declare_run().path}/advice", max_norm=1.0)
        assert (advice["suggested_max_norm"], advice["reason"]) == (None, "no step of this run is known yet")
        assert advice["thresholds"][0]["clip_rate"] is None

    def test_of_an_unknown_run_or_monitor_is_not_found(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1)
        for path in (f"/api/v1/runs/{uuid4()}/advice", f"{run.path}/advice?monitor=critic"):
            assert service.client.get(path, headers=service.read).status_code == 404

    @pytest.mark.parametrize("max_norm", ["0", "-1", "nan", "inf", "high"])
    def test_a_threshold_that_is_none_is_refused_by_name(self, service: ServiceUnderTest, max_norm: str):
        run = service.declare_run()
        answer = service.client.get(f"{run.path}/advice?max_norm={max_norm}", headers=service.read)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("query.max_norm")
