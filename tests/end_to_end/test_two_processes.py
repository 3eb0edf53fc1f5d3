"""Two real processes train one run as the same rank, from spool folders that do not know of each other."""

import json

from end_to_end.test_offline import Process
from service_process import ServiceProcess

TRAIN_UNTIL_TOLD = """
import time
import gradvitals.sender
gradvitals.sender.HEARTBEAT_SECONDS = 0.2
say_and_wait("ready")
ends = time.monotonic() + 60
while run._sender.events_told == 0 and time.monotonic() < ends:
    train(1)
    time.sleep(0.01)
say_and_wait("told")
run.finish()
"""


def test_both_are_warned_and_every_frame_of_both_is_kept(service: ServiceProcess) -> None:
    processes = [
        Process(service, TRAIN_UNTIL_TOLD, GRADVITALS_SPOOL_DIR=str(service.folder / name)) for name in ("one", "other")
    ]
    for process in processes:
        process.wait_for("ready")
    for process in processes:
        process.go_on()
    for process in processes:
        process.wait_for("told")
    for process in processes:
        process.go_on()
    for said in [process.finish() for process in processes]:
        assert "warning: two-processes at step" in said
        assert "two processes train this run as rank 0 at once" in said
    (run,) = service.get("/api/v1/dashboard")["runs"]
    (event,) = service.get(f"/api/v1/runs/{run['run_id']}/events")["events"]
    assert (event["kind"], event["status"]) == ("two_processes", "resolved")
    shown = service.get(f"/api/v1/runs/{run['run_id']}")
    made = [attempt["monitors"]["main"]["made"] for attempt in shown["attempts"]]
    assert len(made) == 2
    assert (shown["frames"], shown["lost"]) == (sum(made), 0), json.dumps(shown["attempts"])
