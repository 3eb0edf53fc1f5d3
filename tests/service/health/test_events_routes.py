"""Events over HTTP."""

from uuid import uuid4

from service.speaking import ServiceUnderTest, Speaker

NAN = float("nan")


def blow_up(run: Speaker, step: int) -> None:
    """One step whose gradient is not finite: a critical event that stays open."""
    run.send(step, 1, global_norm=[NAN], layer_norms=[NAN, 4.0], flags=[3])


class TestEvents:
    def test_of_a_run_are_told_as_the_wire_says(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        blow_up(run, 3)
        (event,) = service.get(f"{run.path}/events")["events"]
        named = ("run_id", "attempt_id", "monitor", "rank", "kind", "severity", "status", "start_step", "end_step")
        said = [str(run.run_id), str(run.attempt_id), "main", 0, "non_finite", "critical", "open", 3, None]
        assert [event[name] for name in named] == said
        assert (event["layers"], event["resolved_at"], event["revision"]) == (["encoder.weight"], None, 1)

    def test_of_all_runs_come_newest_first(self, service: ServiceUnderTest):
        runs = [service.declare_run() for _ in range(3)]
        for run in runs:
            blow_up(run, 0)
        told = [event["run_id"] for event in service.get("/api/v1/events")["events"]]
        assert told == [str(run.run_id) for run in reversed(runs)]
        assert len(service.get("/api/v1/events", limit=2)["events"]) == 2
        assert [event["run_id"] for event in service.get(f"{runs[0].path}/events")["events"]] == [str(runs[0].run_id)]

    def test_can_be_chosen_by_status(self, service: ServiceUnderTest):
        run, other = service.declare_run(), service.declare_run()
        blow_up(run, 0)
        blow_up(other, 0)
        other.send(1, 200)
        for path in ("/api/v1/events", f"{run.path}/events"):
            assert [event["run_id"] for event in service.get(path, status="open")["events"]] == [str(run.run_id)]
        assert [event["run_id"] for event in service.get("/api/v1/events", status="resolved")["events"]] == [
            str(other.run_id)
        ]

    def test_of_an_unknown_run_are_not_found(self, service: ServiceUnderTest):
        assert service.client.get(f"/api/v1/runs/{uuid4()}/events", headers=service.read).status_code == 404

    def test_bad_parameters_are_refused_by_name(self, service: ServiceUnderTest):
        for parameter, value in (("limit", "0"), ("limit", "1001"), ("status", "closed")):
            answer = service.client.get("/api/v1/events", params={parameter: value}, headers=service.read)
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith(f"query.{parameter}: ")
