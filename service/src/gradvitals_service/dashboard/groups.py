"""Put runs into groups that share a project, a tag, a group or an owner: those that need a person first."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.orm import Session

from gradvitals_service.dashboard.facets import words_of
from gradvitals_service.dashboard.queries import Filter, count_alike
from gradvitals_service.runs.standing import HEALTHS, Moment

By = Literal["project", "tag", "group", "owner"]
MOST_GROUPS = 200


@dataclass(slots=True)
class _Group:
    """What was counted of one group so far."""

    last_seen_at: datetime
    totals: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(HEALTHS, 0)))

    def take(self, kind: Any) -> None:
        (health,) = words_of(kind, "health")
        self.totals[health] += kind.runs
        self.last_seen_at = max(self.last_seen_at, kind.last_seen_at)

    def told(self, word: str) -> dict[str, Any]:
        runs, totals = self.totals.total(), dict(self.totals)
        return {"value": word, "runs": runs, "totals": totals, "last_seen_at": self.last_seen_at}


def count_groups(session: Session, asked: Filter, moment: Moment, by: By) -> tuple[list[dict[str, Any]], int]:
    """The groups, and how many more there are; a run of two tags is in both their groups."""
    groups: dict[str, _Group] = {}
    for kind in count_alike(session, asked, moment, [by, "health"]):
        for word in words_of(kind, by):
            groups.setdefault(word, _Group(kind.last_seen_at)).take(kind)
    found = sorted(groups.items(), key=_need)
    return [group.told(word) for word, group in found[:MOST_GROUPS]], max(0, len(found) - MOST_GROUPS)


def _need(named: tuple[str, _Group]) -> tuple[bool, bool, float, str]:
    """How runs are sorted, so that a group stands where its first run would."""
    word, group = named
    sick, odd = group.totals["critical"] > 0, group.totals["warning"] > 0
    return not sick, not (sick or odd), -group.last_seen_at.timestamp(), word
