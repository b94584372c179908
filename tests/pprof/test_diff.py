from __future__ import annotations

import math
import random

import pytest

from diagnose.pprof.codec import decode
from diagnose.pprof.diff import diff
from diagnose.pprof.kinds import guess_kind, observations
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.pprof.significance import discoveries, dispersion, p_value, weaker, z_of_rate, z_of_share
from tests.pprof.small import RECORDED, TICK_NS, cpu_profile, seeded

# Shares like those of a real service: a few big functions, a long tail.
WEIGHTS = {f"main.f{number}": 1 / (number + 1) for number in range(400)}


def noisy(chance: random.Random, total: float, *, seconds: float = 10, **changed: float) -> Profile:
    """Poisson counts around *total* samples spread over WEIGHTS, plus functions with counts of their own."""
    scale = total / sum(WEIGHTS.values())
    expected = {name: weight * scale for name, weight in WEIGHTS.items()}
    expected |= {f"main.{name}": count for name, count in changed.items()}
    counts = {f"main.main > {name}": _poisson(chance, mean) for name, mean in expected.items()}
    return cpu_profile({path: count for path, count in counts.items() if count}, seconds=seconds)


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > 200:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count, product = count + 1, product * chance.random()
    return count


def reported(base: Profile, new: Profile) -> list[str]:
    return [change.name for change in diff(base, new).functions if change.significant]


def test_two_windows_of_the_same_workload_differ_in_almost_nothing():
    chance = seeded(3)

    assert sum(len(reported(noisy(chance, 2500), noisy(chance, 2500))) for _ in range(20)) <= 1


def test_five_points_more_on_a_small_function_are_found():
    chance = seeded(4)
    found = [
        reported(noisy(chance, 2500, small=125), noisy(chance, 2500, small=250 + 12)) == ["main.small"]
        for _ in range(20)
    ]

    assert sum(found) >= 19


def test_when_the_load_triples_nothing_is_reported():
    chance = seeded(5)

    assert [] == reported(noisy(chance, 2500), noisy(chance, 7500))


def test_one_added_function_does_not_mark_the_rest():
    chance = seeded(6)

    assert ["main.added"] == reported(noisy(chance, 2500), noisy(chance, 2500, added=2500))


def test_a_longer_profile_of_the_same_workload_reports_nothing():
    chance = seeded(7)

    assert [] == reported(noisy(chance, 2500, seconds=10), noisy(chance, 15000, seconds=60))


def test_comments_added_above_a_function_change_nothing():
    base = cpu_profile({"main.main > main.match": 500})
    moved = base.with_samples(
        Sample(tuple(Frame(f.function, f.file, f.line + 7, f.start_line + 7) for f in sample.frames), sample.values)
        for sample in base.samples
    )
    changes = diff(base, moved).functions

    assert [(0, 0, False)] * 2 == [(each.flat, each.cum, each.significant) for each in changes]


def test_a_change_has_values_points_and_z():
    base = cpu_profile({"main.match": 60, "main.render": 940, "main.rare": 3})
    new = cpu_profile({"main.match": 1400, "main.render": 600, "main.rare": 5})
    changes = {each.name: each for each in diff(base, new).functions}
    match, rare = changes["main.match"], changes["main.rare"]

    assert ((1400 - 60) * TICK_NS, 60 * TICK_NS, 1400 * TICK_NS) == (match.flat, match.base_flat, match.new_flat)
    assert pytest.approx(100 * 1400 / 2005 - 100 * 60 / 1003) == match.flat_points
    assert pytest.approx(33.03, abs=0.01) == match.z
    assert pytest.approx(-8.66, abs=0.01) == changes["main.render"].z
    assert (None, False) == (rare.z, rare.significant)


def test_cum_marks_the_callers_too():
    base = cpu_profile({"main.main > main.handle > main.match": 20, "main.main > main.other": 800})
    new = cpu_profile({"main.main > main.handle > main.match": 600, "main.main > main.other": 800})

    assert ["main.match"] == [each.name for each in diff(base, new).functions if each.significant]
    assert ["main.handle", "main.match"] == [
        each.name for each in diff(base, new, by="cum").functions if each.significant
    ]


def test_a_relative_difference_scales_the_new_profile_to_the_base():
    base, new = cpu_profile({"main.a": 100, "main.b": 100}), cpu_profile({"main.a": 300, "main.b": 300})

    assert [0, 0] == [each.flat for each in diff(base, new, relative=True).functions]
    assert [200 * TICK_NS] * 2 == [each.flat for each in diff(base, new).functions]


def test_the_profilers_own_work_is_no_finding():
    polled = {"net/http.(*conn).serve > net/http/pprof.Index > runtime/pprof.writeGoroutine": 900}
    base, new = cpu_profile({"main.a": 500}), cpu_profile({"main.a": 500, **polled})

    assert ["main.a"] == [each.name for each in diff(base, new).functions]
    assert 0.0 == diff(base, new).functions[0].flat_points


def test_significance_worked_examples():
    assert pytest.approx(5.77, abs=0.01) == z_of_rate(100, 200, 10, 10)
    assert 0.0 == z_of_share(100, 200, 1000, 2000)
    assert pytest.approx(6.26, abs=0.01) == z_of_share(100, 200, 1000, 1000)
    assert 0.0 == z_of_rate(0, 0, 1, 1) == z_of_share(0, 0, 0, 0) == z_of_share(5, 5, 5, 5)
    assert -2.0 == weaker(-5, -2)
    assert 0.0 == weaker(-5, 2)
    assert pytest.approx(0.05, abs=0.001) == p_value(1.96)


def test_dispersion_worked_example():
    steady = {f"main.f{number}": count for number, count in enumerate((95, 100, 105, 101, 99))}
    healthy = [{"main.cache": 60, **steady}, {"main.cache": 100, **steady}, {"main.cache": 140, **steady}]
    varies = dispersion(healthy, [1000, 1000, 1000])

    assert pytest.approx(35.6 / 12, abs=0.01) == varies.of["main.cache"]  # the median of all others is 0 here
    assert {1.0, varies.of["main.cache"]} == set(varies.of.values())
    assert 1.0 == varies.z("main.unknown", 1.0)
    assert 2.0 == dispersion(healthy[:2], [1000, 1000], 4.0).z("main.cache", 4.0)


def test_what_varies_in_health_is_not_reported():
    """A cache is filled in some windows and not in others; by counts alone that is 20 standard deviations."""
    chance = seeded(8)
    healthy = [noisy(chance, 2500, cache=mean) for mean in (60, 300, 150, 40)]
    base, new = noisy(chance, 2500, cache=50), noisy(chance, 2500, cache=260, match=260)

    assert {"main.cache", "main.match"} == set(reported(base, new))
    assert ["main.match"] == [each.name for each in diff(base, new, healthy=healthy).functions if each.significant]


def test_benjamini_hochberg_counts_up_to_the_last_passing_rank():
    z_values = [0.52, 3.89, 2.17, 2.88]  # p = 0.6, 0.0001, 0.03, 0.004

    assert [False, True, False, True] == discoveries(z_values)
    assert [] == discoveries([])


def test_go_heap_values_are_scaled_back_to_what_was_sampled():
    types = tuple(
        ValueType(f"{what}_{unit}", "count" if unit == "objects" else "bytes")
        for what in ("alloc", "inuse")
        for unit in ("objects", "space")
    )
    heap = Profile(types, (Sample((), (2048, 2 * 2**20, 0, 0)),), period=524288)

    assert [pytest.approx(4.0, abs=0.01)] == observations(heap, "alloc_space")
    assert [0.0] == observations(heap)


def test_the_kind_of_a_profile_is_guessed_from_its_values():
    kinds = {file.name.removesuffix(".pb.gz"): guess_kind(decode(file.read_bytes())) for file in RECORDED}

    assert {
        "cpu-block": "block",
        "cpu-goroutine": "goroutine",
        "cpu-heap": "heap",
        "cpu-mutex": "mutex",
        "cpu-profile": "cpu",
        "goroutineleak-goroutineleak": "goroutineleak",
        "lock-mutex": "mutex",
        "lock-block": "block",
    }.items() <= kinds.items()
