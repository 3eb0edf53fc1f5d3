"""The picture of a run for a message, over HTTP: what it shows, whom it believes, and what it costs."""

import io
import math
import time

import numpy as np
import pytest
from PIL import Image
from service.speaking import ServiceUnderTest, Speaker

from gradvitals_service.alerts.picture import find_subject, read_glance
from gradvitals_service.health.marks import KIND_COLOURS
from gradvitals_service.series.queries import Line

NAN = float("nan")
HOSTILE = [
    "$\\frac{ 5 €",
    "<script>alert(1)</script>",
    "\u202egnitset txet",
    "層" * 40,
    "x" * 512,
    "e" + "\u0301" * 300,
]


def picture(run: Speaker, **asked: object):
    """GET the picture; gives the whole answer."""
    return run.service.client.get(f"{run.path}/chart.png", headers=run.service.read, params=asked)


def seen(answer) -> Image.Image:
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, answer.headers["content-type"]) == ("PNG", "image/png")
    return image.convert("RGB")


def has_colour(image: Image.Image, colour: str) -> bool:
    """Whether a pixel has a colour, up to what the palette rounds."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return bool((np.abs(np.asarray(image).astype(int) - wanted).max(axis=2) <= 8).any())


def glance(run: Speaker, last: int = 500):
    """What is drawn, before it is drawn."""
    line = Line(run.run_id, "main", 0)
    with run.service.app.state.session_factory.begin() as session:
        return read_glance(session, find_subject(session, line), last, points=500)


@pytest.fixture
def broken(service: ServiceUnderTest) -> Speaker:
    """A run whose norm of about 1 explodes at step 300 and is not finite from step 330 on."""
    run = service.declare_run()
    norms = [1 + 0.3 * math.sin(2.4 * step) for step in range(330)]
    run.send(0, 300, global_norm=norms[:300])
    run.send(300, 40, global_norm=[1000 * norm for norm in norms[300:]] + [NAN] * 10, loss=[9.0] * 40)
    return run


class TestPicture:
    def test_shows_the_explosion_and_what_is_not_finite(self, broken: Speaker):
        image = seen(picture(broken))
        assert image.size == (1000, 500)
        assert has_colour(image, KIND_COLOURS["explosion"])
        assert has_colour(image, KIND_COLOURS["non_finite"])

    def test_says_what_happened_in_words(self, broken: Speaker):
        shown = glance(broken)
        assert (shown.name, shown.project) == ("gru, clipped", "gru-lm")
        assert shown.words.startswith("Non-finite gradients since step 330: ")

    def test_of_a_healthy_run_marks_nothing_and_says_so(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 50)
        assert glance(run).words == "Nothing was noticed in the last 500 steps; now at step 49."
        image = seen(picture(run))
        assert [kind for kind, colour in KIND_COLOURS.items() if has_colour(image, colour)] == []

    def test_shows_as_many_of_the_newest_steps_as_are_asked_for(self, broken: Speaker):
        assert glance(broken, last=15).step.tolist() == list(range(325, 340))

    def test_leaves_a_hole_where_frames_were_lost(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        lost = [{"first": 10, "n": 5, "reason": "quota", "first_step": 10, "last_step": 14}]
        run.send(15, 5, lost=lost)
        shown = glance(run)
        assert shown.lost == [(10, 14)]
        assert np.isnan(shown.norm.maximum).sum() == 1
        assert np.isnan(shown.norm.maximum[shown.step.tolist().index(15) - 1])

    def test_of_an_empty_run_says_that_there_is_nothing_yet(self, service: ServiceUnderTest):
        run = service.declare_run()
        assert glance(run).words == "No step has been measured yet."
        seen(picture(run))

    def test_has_the_size_and_the_background_that_are_asked_for(self, broken: Speaker):
        image = seen(picture(broken, width=400, height=260, theme="dark"))
        assert image.size == (400, 260)
        assert image.getpixel((1, 1)) == pytest.approx((21, 27, 35), abs=6)

    @pytest.mark.parametrize("name", HOSTILE)
    def test_draws_any_name_as_text(self, service: ServiceUnderTest, name: str):
        run = service.declare_run(name=name, project=name)
        run.send(0, 3)
        seen(picture(run, width=320, height=240))

    def test_is_small_enough_for_a_chat(self, service: ServiceUnderTest):
        run = service.declare_run()
        noise = np.random.default_rng(0).lognormal(size=500)
        run.send(0, 500, global_norm=noise.tolist(), loss=noise[::-1].tolist(), max_norm=[1.0] * 500)
        assert len(picture(run).content) <= 60_000

    def test_costs_little_once_the_library_is_loaded(self, broken: Speaker):
        costs = []
        for width in (1000, 1001, 1002, 1003):
            began = time.process_time()
            picture(broken, width=width)
            costs.append(time.process_time() - began)
        assert min(costs[1:]) <= 0.3  # seconds of the processor, by the whole process


class TestAsking:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("last", 1), ("last", 1_000_001), ("width", 319), ("width", 2001), ("height", 1201), ("theme", "pink")],
    )
    def test_out_of_bounds_is_refused(self, service: ServiceUnderTest, name: str, value: object):
        answer = picture(service.declare_run(), **{name: value})
        assert (answer.status_code, name in answer.json()["detail"]) == (422, True)

    def test_for_a_run_or_monitor_that_is_not_there_is_404(self, service: ServiceUnderTest):
        run = service.declare_run()
        assert picture(run, monitor="other").status_code == 404
        run.path = "/api/v1/runs/0199a3c2-7d10-7abc-8def-0123456789ab"
        assert picture(run).status_code == 404

    def test_again_is_answered_without_drawing_until_something_is_new(self, broken: Speaker):
        first = picture(broken)
        assert first.headers["cache-control"].startswith("private")
        again = {"If-None-Match": first.headers["etag"]} | broken.service.read
        path = f"{broken.path}/chart.png"
        assert broken.service.client.get(path, headers=again).status_code == 304
        broken.send(340, 1)
        assert broken.service.client.get(path, headers=again).status_code == 200

    def test_while_another_picture_is_drawn_is_told_to_come_again(self, broken: Speaker):
        with broken.service.app.state.drawing:
            answer = picture(broken)
        assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert picture(broken).status_code == 200
