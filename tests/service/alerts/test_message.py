"""What a person reads at 3 am."""

import pytest
from service.alerts.making import make_event, make_resume, make_run

from gradvitals_service.alerts.message import compose, plain
from gradvitals_service.checkpoints.judgement import Resume

NAN, INFINITY = float("nan"), float("inf")
URL = "http://127.0.0.1:8765/runs/00000000-0000-0000-0000-000000000001"


def body(event=None, run=None, resume=None) -> str:
    """The body of an alert."""
    return compose(event or make_event(), run or make_run(), "gru-lm", URL, resume).body


class TestCompose:
    def test_says_it_all(self):
        message = compose(make_event(), make_run(), "gru-lm", URL)
        assert message.title == '[gradvitals] explosion in "gru, plain" (gru-lm) at step 2041'
        assert message.body.splitlines() == [
            "the global norm is 812 times its usual 1.52.",
            "Since step 2041, noticed 2026-11-23 12:00 UTC.",
            "How bad: 812 times the usual 1.52, peak 1234.",
            "Layers: gru.weight_hh_l0.",
            "Now: step 2050, global norm 1234, loss 0.75, max_norm off.",
            "Owner: ada.",
            f"Run: {URL}",
            "Next: clip: a max_norm a few times the usual 1.52 stops this; "
            "resume from a checkpoint from before step 2041.",
        ]

    def test_says_why_where_there_is_a_guess(self):
        event = make_event(cause="perhaps: the learning rate", action="lower it, and resume from 1900.pt")
        lines = body(event).splitlines()
        assert lines[3] == "Why: perhaps: the learning rate; if so, lower it, and resume from 1900.pt."

    def test_names_the_monitor_and_the_rank_where_they_are_not_the_usual_ones(self):
        assert "Since step 2041 of monitor critic on rank 3," in body(make_event(monitor="critic", rank=3))

    def test_names_ten_layers_and_counts_the_others(self):
        text = body(make_event(layers=[f"layers.{k}.weight" for k in range(500)]))
        assert "layers.9.weight and 490 more." in text
        assert "layers.10.weight" not in text

    def test_does_without_what_is_not_known(self):
        event = make_event(kind="non_finite", peak=None, times_usual=None, usual=None, layers=[])
        text = body(event, make_run(owner=None, loss=None, global_norm=NAN, last_step=None))
        assert "How bad: no peak known." in text
        assert "Layers: not known." in text
        assert "Now: step unknown, global norm nan, loss unknown" in text
        assert "Owner: unknown." in text

    def test_says_of_a_saturated_threshold_what_it_leaves_of_a_step(self):
        event = make_event(kind="clip_saturation", peak=None, times_usual=0.031, usual=None)
        assert "How bad: a typical step keeps 0.031 of its size." in body(event)
        assert "Checkpoint" not in body(event, resume=make_resume("/checkpoints/1900.pt", 1900, not_clean=0))

    @pytest.mark.parametrize(
        ("event", "run", "advice"),
        [
            (make_event(), make_run(max_norm=1.0), "resume from a checkpoint from before step 2041 with a lower"),
            (make_event(usual=INFINITY), make_run(), "resume from a checkpoint from before step 2041 with a lower"),
            (make_event(kind="non_finite", start_step=0), make_run(), "spoiled from step 0 on; start again."),
            (make_event(kind="non_finite"), make_run(), "take the weights for spoiled from step 2041 on"),
            (make_event(kind="vanishing"), make_run(), "they have stopped learning"),
            (make_event(kind="clip_saturation"), make_run(max_norm=1.0), "take a larger max_norm"),
            (make_event(kind="instability"), make_run(), "save a checkpoint now"),
        ],
    )
    def test_says_what_to_do_next(self, event, run, advice):
        assert advice in body(event, run).splitlines()[-1]

    def test_names_the_checkpoint_to_resume_from_on_a_line_of_its_own(self):
        resume = make_resume("/checkpoints/1900.pt", 1900, not_clean=2)
        advice, checkpoint = body(resume=resume).splitlines()[-2:]
        assert advice == "Next: clip: a max_norm a few times the usual 1.52 stops this; resume from step 1900."
        assert checkpoint == "Checkpoint: /checkpoints/1900.pt (newer ones that are not clean: 2)"

    def test_does_not_speak_of_newer_checkpoints_where_there_are_none(self):
        lines = body(resume=make_resume("/checkpoints/1900.pt", 1900, not_clean=0)).splitlines()
        assert lines[-1] == "Checkpoint: /checkpoints/1900.pt"

    def test_says_so_where_no_checkpoint_is_clean(self):
        lines = body(make_event(kind="non_finite"), resume=Resume(None, 3)).splitlines()
        assert lines[-2:] == [
            "Next: take the weights for spoiled from step 2041 on; start again.",
            "Checkpoint: none that is known (3) is clean.",
        ]

    def test_names_no_checkpoint_where_layers_have_stopped_learning(self):
        text = body(make_event(kind="vanishing"), resume=make_resume("/checkpoints/1900.pt", 1900, not_clean=0))
        assert "Checkpoint" not in text

    def test_the_title_stays_one_line_whatever_people_call_their_runs(self):
        run = make_run(name="a\r\nBcc: everyone@example.com\x1b[31m\u2028b\u202egnirts")
        title = compose(make_event(), run, "p\nq", URL).title
        assert title == '[gradvitals] explosion in "a Bcc: everyone@example.com [31m b gnirts" (p q) at step 2041'

    def test_fits_into_the_outbox_at_its_longest(self):
        event = make_event(message="m" * 1024, layers=["l" * 512] * 100, monitor="m" * 128)
        resume = make_resume("/" + "c" * 4095, 2**63 - 1, not_clean=1000)
        message = compose(event, make_run(name="n" * 512, owner="o" * 512), "p" * 512, URL, resume)
        assert len(message.title) <= 1024
        assert len(message.body) <= 8192


class TestPlain:
    @pytest.mark.parametrize("mention", ["@everyone", "@here", "@Channel", "<!channel>", "<@U123>", "<#C1>"])
    def test_wakes_no_chat(self, mention):
        assert mention not in plain(f"run {mention}")

    def test_leaves_ordinary_names_alone(self):
        assert plain("größe <3, lr=1e-3 @ada 训练") == "größe <3, lr=1e-3 @ada 训练"

    def test_cuts_what_is_too_long(self):
        assert plain("x" * 200, 10) == "x" * 7 + "..."

    def test_drops_what_no_channel_can_write(self):
        assert plain("a\0b\ud800c") == "a b c"
