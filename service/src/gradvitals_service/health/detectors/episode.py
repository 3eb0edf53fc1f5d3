"""One event from its opening to its resolution, whatever its kind.

An episode decides *when* something is worth saying again: when it opens, when its severity rises, when its peak has
doubled since it was last told, when a detector says that its groups changed, and when it resolves. That decision
looks at frames only, never at how they were split into blocks.
"""

import math
import struct
from dataclasses import dataclass

from gradvitals_service.health.detectors.interface import EventUpdate, Kind, Severity, Status

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
TOLD_AGAIN_AT = 2.0  # a peak is told again when it has doubled: ten revisions cover three decades

_HEAD = struct.Struct("<qqqBdddIqII")


@dataclass(slots=True)
class Episode:
    """An open event. ``peak`` and ``usual`` are NaN where the kind has none."""

    start_frame: int
    start_step: int
    last_step: int  # the newest step that was not healthy
    severity: Severity
    groups: tuple[int, ...]
    peak: float = math.nan
    usual: float = math.nan
    told_peak: float = math.nan
    returns: int = 0  # how often it came back after it had been resolved
    peak_step: int = -1  # says nothing where there is no peak
    shares: tuple[float, ...] = ()  # of the groups, in single precision; empty where they are not known

    def come_back(self, again: "Episode") -> None:
        """Be open again as what ``again`` says; the start, the usual and the gravest so far stay."""
        self.returns += 1
        self.last_step = again.last_step
        self.raise_severity(again.severity)
        if not again.peak <= self.peak:  # also where the kind has no peak
            self.groups, self.shares = again.groups, again.shares
        self.raise_peak(again.peak, again.peak_step)

    def raise_severity(self, severity: Severity) -> bool:
        """Take on a severity if it is higher; say whether it was."""
        if SEVERITIES.index(severity) <= SEVERITIES.index(self.severity):
            return False
        self.severity = severity
        return True

    def raise_peak(self, peak: float, step: int) -> bool:
        """Take on a higher peak; say whether it has doubled since it was last told."""
        if peak > self.peak:
            self.peak, self.peak_step = peak, step
        if self.peak < TOLD_AGAIN_AT * self.told_peak:
            return False
        self.told_peak = self.peak
        return True

    def update(self, kind: Kind, status: Status, message: str, times_usual: float | None = None) -> EventUpdate:
        """What to tell about this episode now."""
        if self.returns:
            message += f"; it has come back {'once' if self.returns == 1 else f'{self.returns} times'}"
        known = not math.isnan(self.usual)
        return EventUpdate(
            kind=kind,
            status=status,
            start_frame=self.start_frame,
            start_step=self.start_step,
            end_step=self.last_step if status == "resolved" else None,
            severity=self.severity,
            peak=self.peak if known else None,
            times_usual=self.peak / self.usual if known else times_usual,
            usual=self.usual if known else None,
            groups=self.groups,
            message=message,
            peak_step=self.peak_step if known else None,
            shares=self.shares,
        )


def pack_episode(episode: Episode | None) -> bytes:
    """An episode as bytes; None is one zero byte."""
    if episode is None:
        return b"\0"
    head = _HEAD.pack(
        episode.start_frame,
        episode.start_step,
        episode.last_step,
        SEVERITIES.index(episode.severity),
        episode.peak,
        episode.usual,
        episode.told_peak,
        episode.returns,
        episode.peak_step,
        len(episode.groups),
        len(episode.shares),
    )
    groups, shares = len(episode.groups), len(episode.shares)
    return b"\1" + head + struct.pack(f"<{groups}I{shares}f", *episode.groups, *episode.shares)


def unpack_episode(data: bytes, offset: int) -> tuple[Episode | None, int]:
    """Read what ``pack_episode`` wrote at ``offset``; also the offset behind it."""
    if data[offset] == 0:
        return None, offset + 1
    *numbers, group_count, share_count = _HEAD.unpack_from(data, offset + 1)
    start_frame, start_step, last_step, severity, peak, usual, told_peak, returns, peak_step = numbers
    behind = offset + 1 + _HEAD.size
    groups = struct.unpack_from(f"<{group_count}I", data, behind)
    shares = struct.unpack_from(f"<{share_count}f", data, behind + 4 * group_count)
    episode = Episode(start_frame, start_step, last_step, SEVERITIES[severity], groups, peak, usual, told_peak)
    episode.returns, episode.peak_step, episode.shares = returns, peak_step, shares
    return episode, behind + 4 * (group_count + share_count)
