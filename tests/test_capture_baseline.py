from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from diagnose.capture.baseline import BaselineScheduler
from diagnose.capture.locks import Turns
from diagnose.capture.targets import TargetDirectory
from diagnose.config import Settings
from diagnose.model import Capture, utc_now
from diagnose.store.captures import last_round, plan_captures
from diagnose.store.db import Store
from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving


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
    return BaselineScheduler(store, directory, settings, busy, turns=Turns(), tick_s=0.01)


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

    assert ([], {"checkout"}) == (process.asked, set(asked))


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
    threading.Event().wait(0.1)
    baseline.stop()

    assert [] == process.asked
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
