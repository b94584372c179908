"""Several profiles merged by the API, held against the same profiles merged in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from diagnose.pprof import filters
from diagnose.pprof.codec import encode
from diagnose.pprof.diff import diff
from diagnose.pprof.profile import Profile, Sample
from diagnose.pprof.top import top
from diagnose.store.db import Store
from diagnose.store.profiles import save_profile
from tests.pprof.small import cpu_profile, generated
from tests.serving import Serving, serving

START_NS = 1_795_478_454_000_000_000
HOUR_NS = 3_600_000_000_000


def made(number: int) -> Profile:
    """One an hour, each of other samples of one program."""
    profile = generated(120, functions=40, seed=number % 3)
    return replace(profile, time_ns=START_NS - 10 * HOUR_NS + number * HOUR_NS, duration_ns=10_000_000_000)


PROFILES = [made(number) for number in range(6)]
TRACE = PROFILES[0].samples[0].labels["trace_id"]
OTHERS = [cpu_profile({"main.main > main.other": 5})]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Store.open(tmp_path_factory.mktemp("selections") / "data") as store, serving(store) as found:
        for number, profile in enumerate(PROFILES):
            save_profile(
                store,
                profile,
                encode(profile),
                service="checkout",
                instance=f"checkout-{number % 2}",
                kind="cpu",
                basis="interval",
                labels={"build": "old" if number < 3 else "new"},
            )
        save_profile(store, OTHERS[0], encode(OTHERS[0]), service="pricing", instance="p", kind="cpu", basis="interval")
        yield found


def merged(profiles: list[Profile]) -> Profile:
    seconds = sum(profile.duration_ns for profile in profiles)
    samples: list[Sample] = [sample for profile in profiles for sample in profile.samples]
    return replace(profiles[0], samples=tuple(samples), duration_ns=seconds)


def functions_of(profile: Profile) -> dict[str, tuple[int, int]]:
    return {each.name: (each.flat, each.cum) for each in top(profile).functions}


def shown(answer: dict) -> dict[str, tuple[int, int]]:
    return {each["name"]: (each["flat"], each["cum"]) for each in answer["functions"]}


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("service=checkout&kind=cpu", range(6)),
        ("service=checkout&instance=checkout-1", (1, 3, 5)),
        ("service=checkout&label.build=new", (3, 4, 5)),
        ("service=checkout&since=1h&kind=cpu", ()),
    ],
)
def test_functions_of_a_selection_are_those_of_the_merged_profiles(web, query, chosen):
    answer = web.get(f"/api/v1/top?n=0&{query}")
    expected = [PROFILES[number] for number in chosen]
    if not expected:
        assert 404 == answer.status
        return

    assert functions_of(merged(expected)) == shown(answer.json)
    assert (len(expected), merged(expected).total()) == (answer.json["profiles"], answer.json["total"])


def test_one_trace_over_many_profiles(web):
    answer = web.get(f"/api/v1/top?n=0&service=checkout&trace_id={TRACE}").json
    expected = filters.by_trace(merged(PROFILES), TRACE)

    assert expected.total() > 0
    assert functions_of(expected) == shown(answer)


def test_samples_are_chosen_by_label_and_focus(web):
    for query, expected in (
        ("sample.route=/api/route7", filters.by_label(merged(PROFILES), "route", "/api/route7")),
        ("focus=Method3[05]", filters.focus(merged(PROFILES), "Method3[05]")),
    ):
        answer = web.get(f"/api/v1/top?n=0&service=checkout&{query}").json

        assert 0 < expected.total() < merged(PROFILES).total()
        assert functions_of(expected) == shown(answer)


def test_the_flame_graph_of_a_selection_has_its_total(web):
    for lines in ("false", "true"):
        answer = web.get(f"/api/v1/flamegraph?service=checkout&lines={lines}").json

        assert (merged(PROFILES).total(), 6) == (answer["total"], answer["profiles"])
        assert answer["total"] == answer["nodes"]["total"][0]
        assert merged(PROFILES).total() == sum(answer["nodes"]["self"])


def test_two_selections_are_compared(web):
    query = "base_service=checkout&base_label.build=old&service=checkout&label.build=new"
    answer = web.get(f"/api/v1/diff?n=0&{query}").json
    expected = diff(merged(PROFILES[:3]), merged(PROFILES[3:]))
    flame = web.get(f"/api/v1/flamegraph?{query}").json

    assert {(each.name, each.flat, each.cum, each.significant) for each in expected.functions} == {
        (each["name"], each["flat"], each["cum"], each["significant"]) for each in answer["functions"]
    }
    assert {each.name: each.z for each in expected.functions} == pytest.approx(
        {each["name"]: each["z"] for each in answer["functions"]}
    )
    assert (expected.base_total, expected.new_total) == (flame["base_total"], flame["total"])


def test_a_selection_is_compared_with_one_profile(web):
    profile_id = web.get("/api/v1/profiles?service=pricing").json["profiles"][0]["profile_id"]
    answer = web.get(f"/api/v1/diff?n=0&base={profile_id}&service=checkout&kind=cpu").json

    assert (profile_id, None, OTHERS[0].total()) == (
        answer["base_profile_id"],
        answer["profile_id"],
        answer["base_total"],
    )


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/top", 400, "profile"),
        ("/api/v1/top?service=nobody", 404, None),
        ("/api/v1/top?service=checkout&value=heap", 400, "value"),
        ("/api/v1/top?service=checkout&since=yesterday", 400, "since"),
        ("/api/v1/diff?service=checkout", 400, "base"),
        ("/api/v1/diff?service=checkout&base_service=nobody", 404, None),
    ],
)
def test_a_wrong_selection(web, path, status, field):
    answer = web.get(path)

    assert (status, field) == (answer.status, answer.error.get("field"))
