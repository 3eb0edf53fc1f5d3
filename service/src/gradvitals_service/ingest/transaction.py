"""What a piece of work sees of the writer's transaction: the session, the memory of streams, what to tell afterwards.

Nothing that happens here is remembered or told unless the commit succeeds; what one piece of work did is forgotten
alone when that piece fails.
"""

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.health.watch import Watch
from gradvitals_service.ingest.queries import StreamKey

MOST_STREAMS_REMEMBERED = 4096


class Memory:
    """The watches of the streams that a writer thread served last. Owned by that thread; all of it can be restored."""

    def __init__(self, limit: int = MOST_STREAMS_REMEMBERED) -> None:
        self._watches: OrderedDict[StreamKey, Watch] = OrderedDict()
        self._limit = limit

    def get(self, key: StreamKey) -> Watch | None:
        """The watch of a stream, if it is remembered."""
        return self._watches.get(key)

    def update(self, watches: dict[StreamKey, Watch]) -> None:
        """Remember what was committed, and forget the streams that were silent longest."""
        for key, watch in watches.items():
            self._watches[key] = watch
            self._watches.move_to_end(key)
        while len(self._watches) > self._limit:
            self._watches.popitem(last=False)

    def forget(self, watches: dict[StreamKey, Watch]) -> None:
        """Drop streams of which it is not known whether their commit took place."""
        for key in watches:
            self._watches.pop(key, None)


class Transaction:
    """One transaction of a writer thread, shared by the work of its group."""

    def __init__(self, session: Session, memory: Memory, channels: Channels) -> None:
        self.session = session
        self.channels = channels
        self.now = datetime.now(UTC)
        self.watches: dict[StreamKey, Watch] = {}
        self.messages: list[dict[str, Any]] = []
        self._memory = memory
        self._new_watches: dict[StreamKey, Watch] = {}
        self._new_messages: list[dict[str, Any]] = []

    def recall(self, key: StreamKey) -> Watch | None:
        """The newest watch of a stream; a caller that changes it works on a copy."""
        return self._new_watches.get(key) or self.watches.get(key) or self._memory.get(key)

    def remember(self, key: StreamKey, watch: Watch) -> None:
        """Keep a watch if all goes well."""
        self._new_watches[key] = watch

    def publish(self, message: dict[str, Any]) -> None:
        """Tell the hub if all goes well."""
        self._new_messages.append(message)

    def keep(self) -> None:
        """The piece of work at hand succeeded."""
        self.watches |= self._new_watches
        self.messages += self._new_messages
        self.discard()

    def discard(self) -> None:
        """The piece of work at hand failed, or the next one begins."""
        self._new_watches, self._new_messages = {}, []
