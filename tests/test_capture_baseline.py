from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from diagnose.capture.baseline import BaselineScheduler
from diagnose.capture.locks import Turns
from diagnose.capture.targets import TargetDirectory
from diagnose.config import Retention as RetentionSettings
from diagnose.config import Settings
from diagnose.model import Capture, Trigger, new_id, utc_now
from diagnose.pprof.codec import encode
from diagnose.pprof.profile import Profile, ValueType
from diagnose.store.baselines import expired_baselines, kept_baselines
from diagnose.store.builds import builds_of, see_build
from diagnose.store.captures import last_round, plan_captures
from diagnose.store.db import Store
from diagnose.store.profiles import save_profile
from diagnose.store.retention import Retention
from diagnose.store.segments import Segments
from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving
from tests.pprof.small import cpu_profile


@pytest.fixture
def process() -> Iterator[FakeServer]:
    replies = {"/goroutine": Reply(profile_bytes("cpu-goroutine")), "/heap": Reply(profile_bytes("cpu-heap"))}
    with serving(FakeServer(replies=replies)) as server:
        yield server


def scheduler(
    store: Store, process: FakeServer, busy: Callable[[str], bool] = lambda _: False, **baseline: Any
) -> BaselineScheduler:
    defaults = {"first": timedelta(0), "every": timedelta(hours=1), "kinds": ["goroutine"], "seconds": 1}
    entry = {"name": "checkout", "service": "checkout", "source": "static", "addresses": [process.address]}
    settings = Settings(targets=[entry | {"pprof": "http://{address}"}], baseline=defaults | baseline)
    directory = TargetDirectory(settings, [])
    return BaselineScheduler(store, directory, settings, busy, turns=Turns(), tick_s=0.01, build_s=0.02)


def baselines(store: Store) -> list[dict[str, Any]]:
    return store.rows("SELECT * FROM capture WHERE \"trigger\" = 'baseline' AND status NOT IN ('planned', 'running')")


def eventually(holds: Callable[[], Any]) -> Any:
    """What *holds* answers once it is true; the scheduler works in its own time."""
    deadline = time.monotonic() + 5
    while not (answer := holds()):
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.01)
    return answer


def test_a_healthy_target_is_captured_once_an_hour(store, process):
    baseline = scheduler(store, process)
    baseline.start()
    (row,) = eventually(lambda: baselines(store))
    threading.Event().wait(0.1)
    baseline.stop()

    assert (None, "checkout", process.address, "done") == (
        row["incident_id"],
        row["service_name"],
        row["service_instance_id"],
        row["status"],
    )
    assert 1 == len(baselines(store))


def test_it_comes_again_after_a_while(store, process):
    baseline = scheduler(store, process, every=timedelta(milliseconds=20))
    baseline.start()
    eventually(lambda: len(baselines(store)) >= 3)
    baseline.stop()


def test_a_sick_service_is_left_alone(store, process):
    asked: list[str] = []

    def busy(service: str) -> bool:
        asked.append(service)
        return True

    baseline = scheduler(store, process, busy)
    baseline.start()
    eventually(lambda: len(asked) > 2)
    baseline.stop()

    assert (set(), {"checkout"}) == (set(process.paths()) - {"/threadcreate"}, set(asked))


def test_a_round_that_got_nothing_is_tried_again_soon(store, process):
    process.replies["/goroutine"] = [Reply(b"", 503), Reply(profile_bytes("cpu-goroutine"))]
    baseline = scheduler(store, process, every=timedelta(milliseconds=50))
    baseline.start()
    eventually(lambda: "done" in [row["status"] for row in baselines(store)])
    baseline.stop()

    assert "failed" == baselines(store)[0]["status"]


def test_the_schedule_survives_a_restart(store, process):
    earlier = Capture(
        "cap-1", None, "checkout", "checkout", process.address, "cpu", "first", "baseline", "done", "",
        utc_now() - timedelta(minutes=30),
    )  # fmt: skip
    plan_captures(store, [earlier])
    baseline = scheduler(store, process)
    baseline.start()
    eventually(lambda: process.paths().count("/threadcreate") > 2)
    baseline.stop()

    assert {"/threadcreate"} == set(process.paths())
    assert last_round(store, "checkout", process.address, "baseline") == earlier.requested_at


def test_stopping_interrupts_a_profile(store, process):
    profiling, released = threading.Event(), threading.Event()
    process.replies["/profile"] = Reply(before=lambda: (profiling.set(), released.wait(10)))
    baseline = scheduler(store, process, kinds=["cpu"], seconds=60)
    baseline.start()
    assert profiling.wait(5)
    began_s = time.monotonic()
    baseline.stop()
    released.set()

    assert time.monotonic() - began_s < 2


def test_without_kinds_nothing_is_started(store, process):
    baseline = scheduler(store, process, kinds=[])
    baseline.start()
    baseline.stop()

    assert [] == process.asked


def run_build(process: FakeServer, build_id: str) -> None:
    """From now on *process* is a program with that build id."""
    for kind in ("threadcreate", "goroutine"):
        profile = Profile((ValueType(kind, "count"),), binary="shop", build_id=build_id)
        process.replies[f"/{kind}"] = Reply(encode(profile))


def test_a_new_build_gets_its_own_healthy_profiles_soon(store, process):
    run_build(process, "aaa")
    baseline = scheduler(store, process)
    baseline.start()
    eventually(lambda: baselines(store))
    eventually(lambda: builds_of(store, "checkout"))
    run_build(process, "bbb")
    eventually(lambda: len(baselines(store)) == 2)
    baseline.stop()

    first, second = builds_of(store, "checkout")
    assert ("aaa", "bbb", process.address) == (first.build_id, second.build_id, second.service_instance_id)
    assert first.first_seen <= first.last_seen < second.first_seen


def test_a_target_that_does_not_tell_its_build_has_none(store, process):
    run_build(process, "")
    baseline = scheduler(store, process)
    baseline.start()
    eventually(lambda: process.paths().count("/threadcreate") > 3)
    baseline.stop()

    assert [] == builds_of(store, "checkout")


def test_a_build_is_a_row_until_another_one_runs(store):
    at = utc_now()
    seen = [
        see_build(store, "checkout", instance, build_id, at + timedelta(minutes=minute))
        for minute, instance, build_id in (
            (0, "c-1", "aaa"), (1, "c-1", "aaa"), (7, "c-1", "aaa"), (8, "c-2", "bbb"), (9, "c-1", "bbb"),
            (10, "c-1", ""), (11, "c-1", "aaa"), (12, "c-1", "aaa"),
        )
    ]  # fmt: skip

    assert [None, None, None, None, "aaa", None, "bbb", None] == [each and each.build_id for each in seen]
    rows = [(each.service_instance_id, each.build_id, each.last_seen - at) for each in builds_of(store, "checkout")]
    assert [
        ("c-1", "aaa", timedelta(minutes=7)),
        ("c-2", "bbb", timedelta(minutes=8)),
        ("c-1", "bbb", timedelta(minutes=9)),
        ("c-1", "aaa", timedelta(minutes=11)),
    ] == rows


def healthy(store: Store, build_id: str, *, age: timedelta, trigger: Trigger = "baseline") -> str:
    """A healthy heap profile of that age; its id."""
    at = utc_now() - age
    profile = Profile((ValueType("inuse_space", "bytes"),), time_ns=int(at.timestamp() * 1e9), build_id=build_id)
    capture = Capture(
        new_id("cap"), None, "checkout", "checkout", "c-1", "heap", "first", trigger, "done", "", at
    )  # fmt: skip
    stored = save_profile(
        store, profile, encode(profile), service="checkout", instance="c-1", kind="heap", basis="snapshot",
        capture_id=capture.capture_id,
    )  # fmt: skip
    plan_captures(store, [replace(capture, profile_id=stored.profile_id)])
    return stored.profile_id


def test_of_old_healthy_profiles_the_last_of_two_builds_stay(store):
    oldest = healthy(store, "aaa", age=timedelta(days=30))
    previous = [healthy(store, "bbb", age=timedelta(days=days)) for days in (20, 19)]
    present = [healthy(store, "ccc", age=timedelta(days=days)) for days in (12, 11, 1)]

    assert sorted([previous[1], present[2]]) == kept_baselines(store)
    assert sorted([oldest, previous[0], *present[:2]]) == expired_baselines(store, utc_now() - timedelta(days=7))


def test_retention_takes_healthy_profiles_at_an_age_of_their_own(store):
    healthy(store, "aaa", age=timedelta(days=9))
    kept = [healthy(store, "bbb", age=timedelta(days=8)), healthy(store, "ccc", age=timedelta(days=1))]
    keeper = Retention(store, Segments(store), RetentionSettings(), baselines=timedelta(days=7), min_free_bytes=0)
    keeper.run()

    assert sorted(kept) == [row["profile_id"] for row in store.rows("SELECT profile_id FROM profiles ORDER BY 1")]


def test_the_samples_of_kept_profiles_outlive_their_file(store):
    at = utc_now()
    profiles = {
        build: save_baseline(store, replace(cpu_profile({"main.work": 10}), time_ns=time_ns, build_id=build), at)
        for time_ns, build in enumerate(("aaa", "bbb", "ccc"), start=int(at.timestamp() * 1e9))
    }
    Segments(store).move()
    Retention(store, Segments(store), RetentionSettings(), min_free_bytes=0).run(at + timedelta(days=31))

    left = store.rows("SELECT DISTINCT profile_id FROM profile_samples ORDER BY profile_id")
    assert sorted([profiles["bbb"], profiles["ccc"]]) == [row["profile_id"] for row in left]


def save_baseline(store: Store, profile: Profile, at: datetime) -> str:
    """A healthy CPU profile with samples; its id."""
    capture_id = new_id("cap")
    stored = save_profile(
        store, profile, encode(profile), service="checkout", instance="c-1", kind="cpu", basis="interval",
        capture_id=capture_id,
    )  # fmt: skip
    requested_at = at + timedelta(microseconds=int(profile.build_id, 16))
    capture = Capture(
        capture_id, None, "checkout", "checkout", "c-1", "cpu", "first", "baseline", "done", "", requested_at
    )  # fmt: skip
    plan_captures(store, [replace(capture, profile_id=stored.profile_id)])
    return stored.profile_id
