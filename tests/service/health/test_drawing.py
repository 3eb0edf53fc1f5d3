"""A run is drawn as a PNG, whatever its numbers, names and events are."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gradvitals_service.health.drawing import HEIGHT, WIDTH, Picture, draw
from gradvitals_service.health.marks import KIND_COLOURS, OTHER_COLOUR, Mark

N = 300


def picture(marks=(), **changes) -> Picture:
    """300 steps of norm 1 and loss 1 in two layers."""
    drawn = {
        "title": "run",
        "step": np.arange(N),
        "global_norm": np.ones(N, np.float32),
        "max_norm": np.full(N, math.inf, np.float32),
        "loss": np.ones(N, np.float32),
        "layer_names": ["encoder", "head"],
        "layer_norms": np.full((N, 2), 0.7, np.float32),
        "rows": [("found", list(marks))],
    }
    return Picture(**drawn | changes)


def seen(drawn: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(drawn))
    assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
    return image.convert("RGB")


def has_colour(drawn: bytes, colour: str) -> bool:
    """Whether a pixel has a colour, up to what the palette rounds."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return bool((np.abs(np.asarray(seen(drawn)).astype(int) - wanted).max(axis=2) <= 6).any())


class TestDraw:
    def test_shows_each_kind_of_event_in_its_colour(self):
        drawn = draw(picture([Mark(kind, 100, 120) for kind in (*KIND_COLOURS, "one that it does not know")]))
        for colour in (*KIND_COLOURS.values(), OTHER_COLOUR):
            assert has_colour(drawn, colour), colour

    def test_shows_no_event_where_there_is_none(self):
        drawn = draw(picture())
        assert [kind for kind, colour in KIND_COLOURS.items() if has_colour(drawn, colour)] == []

    def test_shows_an_event_of_one_step_and_what_goes_on_at_the_same_time(self):
        drawn = draw(picture([Mark("explosion", 150, 150), Mark("vanishing", 100, None)]))
        assert has_colour(drawn, KIND_COLOURS["explosion"])
        assert has_colour(drawn, KIND_COLOURS["vanishing"])

    @pytest.mark.parametrize(
        "changes",
        [
            {"global_norm": np.full(N, np.nan, np.float32), "loss": np.full(N, np.inf, np.float32)},
            {"global_norm": np.zeros(N, np.float32), "layer_norms": np.zeros((N, 2), np.float32)},
            {"global_norm": np.geomspace(1e-44, 3e38, N).astype(np.float32)},
            {"loss": np.linspace(-5, 5, N).astype(np.float32)},
            {"loss": np.append(np.ones(N - 1), -1e30).astype(np.float32)},
            {"max_norm": np.full(N, 0.1, np.float32)},
            {"layer_norms": np.full((N, 2), 1e-45, np.float32)},
            {"layer_names": [], "layer_norms": np.empty((N, 0), np.float32)},
            {"layer_names": [f"block{k}" for k in range(300)], "layer_norms": np.ones((N, 300), np.float32)},
            {"title": "$\\frac{ 5 €", "layer_names": ["$x_", "層"]},
            {"rows": []},
        ],
    )
    def test_shows_whatever_a_run_may_hold(self, changes):
        seen(draw(picture(**changes)))

    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_shows_a_run_that_has_hardly_begun(self, n):
        names = ("step", "global_norm", "max_norm", "loss", "layer_norms")
        few = picture()
        seen(draw(picture(**{name: getattr(few, name)[:n] for name in names})))

    def test_is_the_same_picture_every_time(self):
        assert draw(picture([Mark("explosion", 5, 9)])) == draw(picture([Mark("explosion", 5, 9)]))


def test_the_service_starts_without_loading_what_draws():
    command = "import sys, gradvitals_service.app, gradvitals_service.cli; print('matplotlib' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert loaded.stdout == "False\n"
