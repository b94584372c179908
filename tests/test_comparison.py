from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from diagnose.alertmanager import ListedAlert
from diagnose.model import fingerprint_of
from diagnose.reconcile.comparison import Comparison, candidates, compare, union
from diagnose.store.endings import LastEnd, OpenEpisode
from tests.builders import START, minute

OURS = {"diagnose"}


def listed(*, starts_at: datetime = START, **fields: Any) -> ListedAlert:
    labels = {"alertname": "HighLatency"} | fields.pop("labels", {})
    defaults: dict[str, Any] = {
        "fingerprint": fingerprint_of(labels),
        "labels": labels,
        "annotations": {},
        "starts_at": starts_at,
        "generator_url": "",
        "receivers": ("diagnose",),
        "suppressed": None,
    }
    return ListedAlert(**(defaults | fields))


def episode(alert: ListedAlert, **fields: Any) -> OpenEpisode:
    defaults: dict[str, Any] = {
        "episode_id": "ep-1",
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "suppressed": None,
        "is_listed": True,
        "is_told_by_ours": True,
    }
    return OpenEpisode(**(defaults | fields))


def look(
    alerts: list[ListedAlert], episodes: list[OpenEpisode], ends: dict[str, LastEnd] | None = None, before: float = 10
) -> Comparison:
    found = union([alerts], ())
    return compare(found, episodes, candidates(found, episodes, OURS), ends or {}, before=minute(before))


def test_what_is_known_on_both_sides_changes_nothing():
    assert Comparison((), (), {}, ()) == look([listed()], [episode(listed())])


def test_an_alert_that_nobody_told_us_of_is_missed():
    assert (listed(),) == look([listed()], []).missed


@pytest.mark.parametrize(
    "alert", [listed(suppressed="silenced"), listed(suppressed="inhibited"), listed(receivers=("pager",))]
)
def test_what_we_are_not_to_be_told_of_is_not_missed(alert):
    assert () == look([alert], []).missed


def test_what_began_a_moment_ago_is_on_its_way():
    assert () == look([listed(starts_at=minute(9.9))], [], before=9.5).missed


@pytest.mark.parametrize(
    ("end", "missed"),
    [
        (LastEnd(minute(5), is_inferred=False), False),
        (LastEnd(minute(5), is_inferred=True), True),
        (LastEnd(minute(-1), is_inferred=False), True),
    ],
)
def test_what_ended_after_it_began_is_over_unless_that_was_only_inferred(end, missed):
    assert missed == bool(look([listed()], [], {listed().fingerprint: end}).missed)


@pytest.mark.parametrize("is_told_by_ours", [True, False])
def test_an_episode_is_absent_only_from_a_list_that_should_have_it(is_told_by_ours):
    gone = episode(listed(), is_told_by_ours=is_told_by_ours)

    assert (("ep-1",) if is_told_by_ours else ()) == look([], [gone]).absent


@pytest.mark.parametrize(
    ("known", "now", "marked"),
    [
        (None, "silenced", {"ep-1": "silenced"}),
        ("silenced", "inhibited", {"ep-1": "inhibited"}),
        ("silenced", None, {"ep-1": None}),
        ("silenced", "silenced", {}),
    ],
)
def test_only_a_change_of_a_silence_is_marked(known, now, marked):
    assert marked == look([listed(suppressed=now)], [episode(listed(), suppressed=known)]).suppressed


def test_an_episode_is_marked_when_it_is_listed_for_the_first_time():
    assert ("ep-1",) == look([listed()], [episode(listed(), is_listed=False)]).newly_listed


def test_of_two_lists_the_earliest_start_counts_and_a_silence_that_both_know():
    first, second = listed(starts_at=minute(1), suppressed="silenced"), listed(receivers=("pager",))
    [both] = union([[first], [second]], ()).values()
    [silenced] = union([[first], [replace(second, suppressed="inhibited")]], ()).values()

    assert (minute(0), None, {"diagnose", "pager"}) == (both.starts_at, both.suppressed, set(both.receivers))
    assert "silenced" == silenced.suppressed


def test_alerts_that_differ_in_ignored_labels_are_one():
    replicas = [listed(labels={"replica": name}) for name in "ab"]

    assert {fingerprint_of({"alertname": "HighLatency"})} == union([replicas], ("replica",)).keys()
