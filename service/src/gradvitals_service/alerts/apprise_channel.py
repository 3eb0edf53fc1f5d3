"""Send alerts through Apprise, which speaks to some hundred services, each behind one URL."""

import logging
import re
import warnings

import apprise

from gradvitals_service.alerts.channels import ChannelError, channel_name
from gradvitals_service.alerts.message import Message, plain

SEND_TIMEOUT_SECONDS = 20.0
_PART_OF_URL = re.compile(r"[^/:@?&=,;\s]{4,}")

# What Apprise logs may quote the URL. Nothing is lost: it comes back, cleaned, as the delivery's error.
_apprise_log = logging.getLogger("apprise")
_apprise_log.propagate = False
_apprise_log.addHandler(logging.NullHandler())


class InvalidChannelError(ValueError):
    """A setting is not a URL that Apprise knows."""


class AppriseChannel:
    """The channel behind one Apprise URL."""

    def __init__(self, url: str, timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> None:
        self.name = channel_name(url)
        with warnings.catch_warnings():  # on first use Apprise tries modules that newer Pythons deprecate
            warnings.simplefilter("ignore")
            service = apprise.Apprise.instantiate(url)
        if service is None:
            raise InvalidChannelError(f"alert {self.name}: Apprise does not know this URL, or a part of it is missing")
        # An abandoned attempt would hold up our exit for as long as its socket waits.
        service.socket_read_timeout = min(service.socket_read_timeout, timeout_seconds)
        service.socket_connect_timeout = min(service.socket_connect_timeout, timeout_seconds)
        self.description = f"{service.service_name} ({self.name})"
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._apprise = apprise.Apprise()
        self._apprise.add(service)

    def send(self, message: Message) -> None:
        """Deliver one message as plain text."""
        result = self._apprise.notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType.FAILURE,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=self._timeout_seconds,
        )
        if not result:
            reasons = "; ".join(entry.message for entry in result.logs())
            raise ChannelError(self._without_secrets(reasons) or "the channel did not accept it in time")

    def _without_secrets(self, reason: str) -> str:
        """Blank every part of the URL that the reason quotes."""
        parts = _PART_OF_URL.findall(self._url.partition("://")[2])
        for part in sorted(parts, key=len, reverse=True):
            reason = reason.replace(part, "***")
        return plain(reason, 512)
