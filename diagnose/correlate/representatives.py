"""Which alerts of a large incident stand for all of them, when each costs questions to Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest

from diagnose.model import Episode, Note
from diagnose.store.folding import badness, severity_of

AT_MOST = 24  # fifty instances of a service tell no more about its requests, and the report has to be there in seconds


def representatives(episodes: Sequence[Episode], at_most: int = AT_MOST) -> list[Episode]:
    """Of each rule in turn the worst alert, of equals the one that fired first, until there are so many."""
    by_rule: dict[str, list[Episode]] = defaultdict(list)
    for episode in sorted(episodes, key=lambda each: (-badness(severity_of(each)), each.starts_at)):
        by_rule[episode.alertname].append(episode)
    in_turn = chain.from_iterable(zip_longest(*by_rule.values()))
    return [episode for episode in in_turn if episode is not None][:at_most]


def left_out(chosen: Sequence[Episode], episodes: Sequence[Episode]) -> list[Note]:
    """Says so when it is not all of them."""
    if len(chosen) == len(episodes):
        return []
    statement = f"Traces were looked for by {len(chosen)} of {len(episodes)} alerts: the worst of each rule."
    return [Note(statement, "ask for the others with SQL: view spans, by service and time")]
