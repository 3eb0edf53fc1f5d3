"""Events as the detectors might have left them."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from service.speaking import Speaker

from gradvitals_service.health.models import Event


@pytest.fixture
def make_event() -> Callable[..., Event]:
    """Store an event of a run; what is not given is an open critical explosion that began at step 0."""

    def make(run: Speaker, **changes: object) -> Event:
        now = datetime.now(UTC)
        values = {
            "run_id": run.run_id,
            "event_id": uuid4(),
            "attempt_id": run.attempt_id,
            "monitor": "main",
            "rank": 0,
            "kind": "explosion",
            "severity": "critical",
            "status": "open",
            "start_frame": 0,
            "start_step": 0,
            "opened_at": now,
            "updated_at": now,
            "peak": 1234.5,
            "times_usual": 812.0,
            "usual": 1.52,
            "layers": ["gru.weight_hh_l0"],
            "message": "the global norm is 812 times its usual 1.52",
            "revision": 1,
            "detector_version": 1,
        }
        event = Event(**values | changes)
        with run.service.app.state.session_factory.begin() as session:
            session.add(event)
        return event

    return make
