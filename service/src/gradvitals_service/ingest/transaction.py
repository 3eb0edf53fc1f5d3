"""What a piece of work sees of the writer's transaction: the session, the memory of streams, what to tell afterwards.

Nothing that happens here is remembered or told unless the commit succeeds; what one piece of work did is forgotten
alone when that piece fails. A watch is in one place at a time: in the memory, with a piece of work, or kept here.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.health.holders import Holders
from gradvitals_service.health.models import Event
from gradvitals_service.health.schemas import NamedEvent
from gradvitals_service.health.watch import Watch
from gradvitals_service.ingest.ledger import Ledger
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.queries import get_run

MOST_STREAMS_REMEMBERED = 4096


class Memory:
    """The watches of the streams that a writer thread served last, and who holds which rank.

    Owned by that thread; all of it can be restored.
    """

    def __init__(self, limit: int = MOST_STREAMS_REMEMBERED) -> None:
        self._watches: OrderedDict[StreamKey, Watch] = OrderedDict()
        self._limit = limit
        self.holders = Holders()

    def take(self, key: StreamKey) -> Watch | None:
        """Hand out the watch of a stream, if it is remembered; it is forgotten until somebody brings it back."""
        return self._watches.pop(key, None)

    def update(self, watches: dict[StreamKey, Watch]) -> None:
        """Remember what was committed, and forget the streams that were silent longest."""
        for key, watch in watches.items():
            self._watches[key] = watch
        while len(self._watches) > self._limit:
            self._watches.popitem(last=False)


class Transaction:
    """One transaction of a writer thread, shared by the work of its group."""

    def __init__(self, session: Session, memory: Memory, channels: Channels, now: datetime) -> None:
        self.session = session
        self.connection = session.connection()  # for statements that need no mapped objects
        self.ledger = Ledger(self.connection)
        self.channels = channels
        self.now = now
        self.watches: dict[StreamKey, Watch] = {}
        self.messages: list[dict[str, Any]] = []
        self.writing = False  # whether the piece of work at hand may have written something
        self.holders = memory.holders
        self._memory = memory
        self._new_watches: dict[StreamKey, Watch] = {}
        self._new_messages: list[dict[str, Any]] = []

    def recall(self, key: StreamKey) -> Watch | None:
        """The newest watch of a stream, for the caller to change and to ``remember``.

        It is handed over, not copied: where the work or the commit fails, it is gone, and the next chunk brings it
        back from what is stored.
        """
        return self.watches.pop(key, None) or self._memory.take(key)

    def remember(self, key: StreamKey, watch: Watch) -> None:
        """Keep a watch if all goes well."""
        self._new_watches[key] = watch

    def publish(self, message: dict[str, Any]) -> None:
        """Tell the hub if all goes well."""
        self._new_messages.append(message)

    def publish_event(self, event: Event) -> None:
        """Tell the hub of an event as it is now, if all goes well."""
        told = NamedEvent.of(event, run_name=get_run(self.session, event.run_id).name).model_dump()
        self.publish({"type": "event", "run_id": str(event.run_id), "event": told})

    def keep(self) -> None:
        """The piece of work at hand succeeded."""
        self.watches |= self._new_watches
        self.messages += self._new_messages
        self.discard()

    def discard(self) -> None:
        """The piece of work at hand failed, or the next one begins."""
        self._new_watches, self._new_messages = {}, []
        self.writing = False
