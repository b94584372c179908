"""What counts as a change: the same numbers from SQL as from Python, and nothing that varies by itself."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from diagnose.explain import explain
from diagnose.explain.evidence import Evidence
from diagnose.explain.functions import Changes, function_changes
from diagnose.pprof.profile import Profile
from diagnose.pprof.significance import discoveries, dispersion, weaker, z_of_rate, z_of_share
from diagnose.store.db import Store
from tests.pprof.small import cpu_profile, seeded
from tests.recorded_incident import open_incident, save_capture

START = datetime.now(UTC) - timedelta(minutes=1)
SHARES = {f"main.f{number}": 300 / (number + 1) for number in range(60)}
Counts = Mapping[str, int]


def varied(chance: random.Random, **changed: float) -> dict[str, int]:
    """Counts around SHARES, with those of *changed* instead."""
    expected = SHARES | {f"main.{name}": count for name, count in changed.items()}
    return {name: max(0, round(chance.gauss(count, count**0.5))) for name, count in expected.items()}


def profile(counts: Counts, at: datetime) -> Profile:
    paths = {f"main.main > {name}": count for name, count in counts.items() if count}
    return replace(cpu_profile(paths), time_ns=int(at.timestamp() * 1e9))


def incident_with(store: Store, healthy: list[Counts], during: Counts) -> str:
    """*healthy* from the oldest to the newest, an hour apart."""
    incident = open_incident(store, START, None)
    for age, counts in enumerate(reversed(healthy), start=1):
        at = START - timedelta(hours=age)
        save_capture(store, None, "cpu", trigger="baseline", at=at, profile=profile(counts, at), basis="interval")
    save_capture(store, incident, "cpu", profile=profile(during, START), basis="interval")
    return incident


def changes(store: Store, incident: str) -> Changes:
    evidence = Evidence.gather(store, incident)
    (pair,) = evidence.pairs("cpu", "interval")
    return function_changes(evidence, pair, "cpu")


@pytest.mark.parametrize("profiles", [1, 5])
def test_sql_and_python_agree(store: Store, profiles: int):
    chance = seeded(1)
    healthy = [varied(chance, cache=count) for count in (20, 90, 40, 160, 60)[:profiles]]
    during = varied(chance, cache=100, f3=160)
    base, totals = healthy[-1], [sum(each.values()) for each in healthy]
    varies = dispersion(healthy, totals)
    expected = {
        name: varies.z(
            name,
            weaker(
                z_of_rate(base[name], during[name], 10, 10),
                z_of_share(base[name], during[name], sum(base.values()), sum(during.values())),
            ),
        )
        for name in base
        if max(base[name], during[name]) >= 10
    }
    found = changes(store, incident_with(store, healthy, during))

    assert found.functions
    for each in found.functions:
        if each.function in expected:
            assert pytest.approx(expected[each.function], abs=1e-9) == each.z
            assert pytest.approx(varies.of.get(each.function, varies.others)) == each.dispersion
    significant = dict(zip(expected, discoveries(list(expected.values())), strict=True))
    assert {name for name, counts in significant.items() if counts} == {
        each.function for each in found.functions if each.significant
    }
    assert "main.f3" in {each.function for each in found.functions if each.has_risen}


def test_a_cache_that_is_filled_now_and_then_is_no_cause(store: Store):
    chance = seeded(2)
    healthy = [varied(chance, cache=count) for count in (30, 700, 300, 60, 500)]
    incident = incident_with(store, healthy, varied(chance, cache=600))

    assert [] == explain(store, incident).findings


def test_the_same_without_knowing_that_it_varies_is_one(store: Store):
    chance = seeded(2)
    incident = incident_with(store, [varied(chance, cache=40)], varied(chance, cache=600))

    assert ["main.cache"] == [each.subject.name for each in explain(store, incident).findings]
