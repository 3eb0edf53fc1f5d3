"""Channels deliver or say why not, and never give their address away."""

import time

import pytest

from gradvitals_service.alerts.apprise_channel import AppriseChannel, InvalidChannelError
from gradvitals_service.alerts.channels import ChannelError, Channels, channel_name
from gradvitals_service.alerts.message import Message

MESSAGE = Message("a title", "line one\nline two <b>&amp;")
SECRET = "slack://TokenAAAA/TokenBBBB/TokenCCCCCCCCCCCCCCCCCCC/#training"


class TestAppriseChannel:
    def test_delivers_plain_text_as_it_is(self, make_receiver):
        receiver = make_receiver(200)
        AppriseChannel(receiver.url).send(MESSAGE)
        received = receiver.received.get(timeout=10)
        assert (received["title"], received["message"]) == (MESSAGE.title, MESSAGE.body)
        assert received["type"] == "failure"

    def test_says_why_it_could_not_without_its_secret(self, make_receiver, caplog):
        receiver = make_receiver(500)
        with pytest.raises(ChannelError) as failure:
            AppriseChannel(receiver.url).send(MESSAGE)
        assert "500" in str(failure.value)
        assert "s3cretpath" not in f"{failure.value} {caplog.text}"

    def test_gives_up_on_a_receiver_that_hangs(self, make_receiver):
        receiver = make_receiver(0)
        begin = time.monotonic()
        with pytest.raises(ChannelError):
            AppriseChannel(receiver.url, timeout_seconds=0.2).send(MESSAGE)
        assert time.monotonic() - begin < 5

    def test_fails_where_nobody_listens(self):
        with pytest.raises(ChannelError):
            AppriseChannel("json://127.0.0.1:1/").send(MESSAGE)

    @pytest.mark.parametrize("url", ["", "nonsense", "nosuch://s3cret/path", "slack://", "mailto://"])
    def test_refuses_what_apprise_does_not_know_without_repeating_it(self, url):
        with pytest.raises(InvalidChannelError) as refusal:
            AppriseChannel(url)
        assert "s3cret" not in str(refusal.value)

    def test_describes_itself_without_its_secret(self):
        channel = AppriseChannel(SECRET)
        assert channel.description == f"Slack ({channel.name})"


class TestChannelName:
    def test_is_the_same_for_the_same_url_and_another_for_another(self):
        assert channel_name(SECRET) == channel_name(SECRET) != channel_name(SECRET + "2")

    def test_has_the_scheme_and_no_secret(self):
        name = channel_name(SECRET)
        assert name.startswith("slack-")
        assert "Token" not in name


class TestChannels:
    def test_link_to_the_run(self):
        assert Channels([], "https://train.example.com/gv/").run_url("abc") == "https://train.example.com/gv/runs/abc"
