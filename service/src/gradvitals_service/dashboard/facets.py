"""Count what each filter of the overview can ask for, among the runs that the other filters leave."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any, get_args

from sqlalchemy.orm import Session

from gradvitals_service.dashboard.queries import NONE, Facet, Filter, count_alike
from gradvitals_service.runs.standing import Moment, health_of, state_of

FACETS: tuple[Facet, ...] = get_args(Facet)
MOST_CHOICES = 200


def count_choices(session: Session, asked: Filter, moment: Moment) -> dict[str, list[dict[str, Any]]]:
    """The choices of each filter with their runs, in a statement each."""
    return {name: _choices(session, asked, moment, name) for name in FACETS}


def words_of(kind: Any, name: Facet) -> tuple[str, ...]:
    """What the runs of one kind are found by in one respect: several words where they have several tags."""
    if name == "state":
        return (state_of(kind.state, bool(kind.silent), bool(kind.overdue)),)
    if name == "health":
        return (health_of(kind.urgency, bool(kind.has_frames), bool(kind.already_clipped)),)
    if name == "tag":
        return tuple(dict.fromkeys(json.loads(kind.tag))) or (NONE,)
    return (getattr(kind, name) or NONE,)


def _choices(session: Session, asked: Filter, moment: Moment, name: Facet) -> list[dict[str, Any]]:
    """The most frequent words; the one asked for is among them even where nothing is left."""
    chosen = getattr(asked, name)
    counts = Counter({} if chosen is None else {chosen: 0})
    for kind in count_alike(session, replace(asked, **{name: None}), moment, [name]):
        counts.update(dict.fromkeys(words_of(kind, name), kind.runs))
    found = sorted(counts.items(), key=lambda choice: (choice[0] != chosen, -choice[1], choice[0]))[:MOST_CHOICES]
    return [{"value": word, "runs": runs} for word, runs in found]
