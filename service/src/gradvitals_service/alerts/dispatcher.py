"""Send due deliveries: one thread a channel, so that one that hangs holds up no other.

A thread owns its schedule; only the closing flag and the wake-up are shared. The database holds everything that must
survive: a dispatcher that is killed anywhere leaves a row whose lease runs out. No transaction is open while a channel
is slow.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.alerts import outbox
from gradvitals_service.alerts.channels import Channel, ChannelError, Channels
from gradvitals_service.database import begin_write

LEASE = timedelta(minutes=1)  # longer than a channel may take, so that nobody sends beside us
LONGEST_SLEEP_SECONDS = 5.0  # another service on the same database may have written what is due

log = structlog.get_logger()


def utc_now() -> datetime:
    """The clock of the real dispatcher."""
    return datetime.now(UTC)


class Dispatcher:
    """Delivers what the outbox holds for ``channels``, from ``start`` to ``close``."""

    def __init__(self, session_factory: sessionmaker[Session], channels: Channels) -> None:
        self._session_factory = session_factory
        self._channels = channels
        self._couriers = [Courier(session_factory, channels[name]) for name in channels.names]

    def start(self) -> None:
        """Begin to deliver; without channels there is nothing to do, and no thread."""
        if not self._couriers:
            return
        with begin_write(self._session_factory) as session:
            if session.get_bind().dialect.name == "sqlite":  # one process: whoever held a lease is dead
                outbox.release_all(session)
        self._channels.on_enqueued = self.wake
        for courier in self._couriers:
            courier.start()

    def wake(self) -> None:
        """Something was enqueued and committed; safe from any thread."""
        for courier in self._couriers:
            courier.wake()

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Stop after the deliveries at hand; what takes longer is delivered again after the next start."""
        for courier in self._couriers:
            courier.close()
        for courier in self._couriers:
            if courier.is_alive():
                courier.join(timeout_seconds)


class Courier(threading.Thread):
    """Delivers to one channel, one message at a time."""

    def __init__(
        self, session_factory: sessionmaker[Session], channel: Channel, now: Callable[[], datetime] = utc_now
    ) -> None:
        super().__init__(name=f"gradvitals-alerts-{channel.name}", daemon=True)
        self._session_factory = session_factory
        self._channel = channel
        self._now = now
        self._closing = False
        self._wake = threading.Event()

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the delivery at hand."""
        self._closing = True
        self._wake.set()

    def run(self) -> None:
        """Deliver, sleep until something is due or a wake-up; outlive a database that is away."""
        while not self._closing:
            self._wake.clear()
            try:
                pause = self._seconds_to_next()
                if pause <= 0:
                    self.deliver_one()
            except SQLAlchemyError as error:
                log.warning("alerts_wait_for_database", error=type(error).__name__)
                pause = LONGEST_SLEEP_SECONDS
            if pause > 0 and not self._closing:
                self._wake.wait(pause)

    def deliver_one(self) -> bool:
        """Try the oldest delivery that is due; whether there was one."""
        now = self._now()
        with begin_write(self._session_factory) as session:
            taken = outbox.lease_oldest(session, self._channel.name, now, now + LEASE)
        if taken is None:
            return False
        error = self._send(taken)
        with begin_write(self._session_factory) as session:
            if error is None:
                outbox.mark_delivered(session, taken)
            else:
                outbox.mark_failed(session, taken, error, self._now())
        return True

    def _send(self, taken: outbox.Lease) -> str | None:
        """One try; what went wrong, or None. What a channel raises against its promise counts too."""
        try:
            self._channel.send(taken.message)
        except ChannelError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001  # a plugin's bug must not end the thread
            error = f"the channel failed with {type(failure).__name__}"
        else:
            log.info("alert_delivered", channel=self._channel.name, title=taken.message.title)
            return None
        log.warning("alert_not_delivered", channel=self._channel.name, tries=taken.tries + 1, error=error)
        return error

    def _seconds_to_next(self) -> float:
        """How long nothing is due, at most ``LONGEST_SLEEP_SECONDS``."""
        with self._session_factory.begin() as session:
            due_at = outbox.next_due_at(session, self._channel.name)
        if due_at is None:
            return LONGEST_SLEEP_SECONDS
        return min((due_at - self._now()).total_seconds(), LONGEST_SLEEP_SECONDS)
