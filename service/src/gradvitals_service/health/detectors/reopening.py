"""Take an event that comes back soon after it was resolved for the same event.

A trouble that fades and returns is one story, and whoever looks at it needs it once. So a detector that resolves an
event hands it over here, and asks here when the next one opens: within the window the old one is open again, under the
id that it had, and only an event that is graver than before is news for those who are paged. Each kind names its own
window and the reason for it; a long one would hide a second accident behind a first.
"""

import struct

from gradvitals_service.health.detectors.episode import Episode, pack_episode, unpack_episode

_NUMBERS = struct.Struct("<q?")


class Reopening:
    """The newest event of one kind that is over, for as long as it may come back: ``within`` frames."""

    def __init__(self, within: int) -> None:
        self._within = within
        self._resolved: Episode | None = None
        self._until = 0  # the last frame at which it may come back
        self._from_before = False  # the open event began before the newest seam

    def resolve(self, episode: Episode, frame: int) -> None:
        """The event is over with this frame."""
        self._resolved = None if self._from_before else episode
        self._until = frame + self._within
        self._from_before = False

    def open(self, fresh: Episode) -> Episode:
        """The event that opens now: the one that was resolved a moment ago, else this fresh one."""
        earlier, self._resolved = self._resolved, None
        if earlier is None or fresh.start_frame > self._until:
            return fresh
        earlier.come_back(fresh)
        return earlier

    def seam(self, episode: Episode | None) -> None:
        """A new attempt begins, whose frames are counted anew: an event from before it ends once and for all."""
        self._resolved = None
        self._from_before = episode is not None

    def pack(self) -> bytes:
        return _NUMBERS.pack(self._until, self._from_before) + pack_episode(self._resolved)

    def unpack(self, data: bytes, offset: int) -> int:
        self._until, self._from_before = _NUMBERS.unpack_from(data, offset)
        self._resolved, offset = unpack_episode(data, offset + _NUMBERS.size)
        return offset
