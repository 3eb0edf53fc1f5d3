"""Chunks over HTTP: counted once, whatever is repeated, and refused with the field and the reason."""

from service.speaking import ServiceUnderTest


def test_a_chunk_is_taken_and_the_next_frame_is_told(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    assert run.send(0, 3) == {"next": 3, "event_revision": 0}
    assert run.send(3, 2)["next"] == 5
    detail = service.get(run.path)
    assert (detail["frames"], detail["lost"], detail["last_step"], detail["health"]) == (5, 0, 4, "healthy")
