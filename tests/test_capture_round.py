from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from diagnose.capture.ledger import RoundRequest
from diagnose.capture.limits import was_left_alone
from diagnose.capture.locks import Interruption, Turns
from diagnose.capture.round import cpu_seconds, run_round, steps_for
from diagnose.capture.wall import BUSY_COST, interval_s
from diagnose.errors import NotFound
from diagnose.model import Alert, AlertGroup, Capture, IncidentKey, Target, fingerprint_of, utc_now
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.store.alerts import save_enrichment, save_group
from diagnose.store.artefacts import find_artefact, forget_artefacts
from diagnose.store.captures import captures_of, mark_lost, plan_captures
from diagnose.store.db import Store
from diagnose.store.incidents import episodes_of
from diagnose.store.profiles import profile_body
from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving

ALL = ("goroutine", "heap", "mutex", "block", "cpu", "wall")
BUSY = Reply(b"Could not enable CPU profiling: cpu profiling already in use\n", 500)
INDEX = Reply(b"<a href='goroutine?debug=1'>goroutine</a> <a href='goroutineleak?debug=1'>goroutineleak</a>")
FIRST = [("goroutine", "first"), ("heap", "first"), ("mutex", "first"), ("block", "first")]
AGAIN = [("heap", "again"), ("mutex", "again"), ("block", "again"), ("goroutine", "again")]


def summed(kind: str, values: tuple[int, ...], *, time_ns: int) -> Reply:
    """A profile that only grows, with one stack."""
    types = {"heap": ("alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes")}
    pairs = [each.split("/") for each in types.get(kind, ("contentions/count", "delay/nanoseconds"))]
    sample = Sample((Frame("main.work"), Frame("main.main")), values)
    profile = Profile(tuple(ValueType(*pair) for pair in pairs), (sample,), time_ns=time_ns)
    return Reply(encode(profile))


def healthy_replies() -> dict[str, Any]:
    return {
        "/goroutine": Reply(profile_bytes("cpu-goroutine")),
        "/heap": [
            summed("heap", (10, 1000, 5, 500), time_ns=1_000_000_000),
            summed("heap", (13, 1300, 4, 400), time_ns=2_000_000_000),
        ],
        "/mutex": [
            summed("mutex", (2, 700), time_ns=1_000_000_000),
            summed("mutex", (5, 900), time_ns=2_000_000_000),
        ],
        "/block": Reply(profile_bytes("cpu-block")),
        "/profile": Reply(profile_bytes("cpu-profile")),
    }


@pytest.fixture
def process() -> Iterator[FakeServer]:
    with serving(FakeServer(replies=healthy_replies())) as server:
        yield server


@pytest.fixture
def target(process) -> Target:
    return Target("checkout", "checkout", "checkout-1", process.url, ("127.0.0.1/32",), {})


@pytest.fixture
def turns() -> Turns:
    return Turns()


def request(**fields: Any) -> RoundRequest:
    return RoundRequest(**({"incident_id": "inc-1", "trigger": "alert", "kinds": ALL, "seconds": 0} | fields))


def run(store: Store, target: Target, turns: Turns, **fields: Any) -> list[Capture]:
    return run_round(
        store,
        target,
        request(**fields),
        on_cheap=fields.pop("on_cheap", lambda: None),
        stop=threading.Event(),
        turns=turns,
        back_off_s=(0.0, 0.0, 0.0),
    )


def by_step(captures: list[Capture]) -> dict[tuple[str, str], Capture]:
    return {(capture.kind, capture.phase): capture for capture in captures}


def steps(captures: list[Capture]) -> list[tuple[str, str]]:
    return [(capture.kind, capture.phase) for capture in captures]


def bases(store: Store, kind: str) -> list[str]:
    rows = store.rows("SELECT basis FROM profile WHERE kind = $kind ORDER BY profile_no", {"kind": kind})
    return [row["basis"] for row in rows]


def test_cheap_evidence_comes_first_then_the_sampled_then_what_grew(store, process, target, turns):
    captures = run(store, target, turns, kinds=("cpu", "heap", "mutex", "block", "goroutine"))

    asked = [path for path in process.paths() if path != "/"]
    assert ["/goroutine", "/heap", "/mutex", "/block", "/profile"] == asked[:5]
    assert ["/heap", "/mutex", "/block", "/goroutine"] == asked[5:]
    assert [*FIRST, ("cpu", "first"), *AGAIN] == steps(captures)
    assert {"done"} == {capture.status for capture in captures}


def test_each_row_has_its_profile_its_cost_and_its_delay(store, process, target, turns):
    captures = run(store, target, turns)

    assert captures == captures_of(store, "inc-1")
    for capture in captures:
        assert capture.profile_id
        assert capture.bytes
        assert (200, "checkout-1") == (capture.http_status, capture.service_instance_id)
        assert capture.started_at is not None
        assert capture.lag_ms == (capture.started_at - capture.requested_at).total_seconds() * 1000
    assert 1 == len({capture.requested_at for capture in captures})


def test_what_grows_is_stored_as_a_sum_and_as_the_difference(store, process, target, turns):
    captures = by_step(run(store, target, turns, kinds=("heap", "mutex", "cpu")))

    grown = decode(profile_body(store, captures["mutex", "again"].profile_id))
    assert (["since_start", "interval"], [(3, 200)]) == (bases(store, "mutex"), [each.values for each in grown.samples])
    assert 1_000_000_000 == grown.duration_ns
    assert ["snapshot", "interval", "snapshot"] == bases(store, "heap")
    growth = store.row("SELECT profile_id, capture_id FROM profile WHERE kind = 'heap' AND basis = 'interval'")
    assert captures["heap", "again"].capture_id == growth["capture_id"]
    assert (3, 300, -1, -100) == decode(profile_body(store, growth["profile_id"])).samples[0].values


def test_nothing_new_between_two_snapshots_is_said(store, process, target, turns):
    captures = by_step(run(store, target, turns, kinds=("block", "cpu")))

    assert "nothing new in that time" == captures["block", "again"].reason


def test_an_empty_profile_says_what_may_be_missing_in_the_program(store, process, target, turns):
    process.replies["/mutex"] = Reply(encode(Profile((ValueType("contentions", "count"), ValueType("delay", "ns")))))

    captures = by_step(run(store, target, turns, kinds=("mutex", "cpu")))

    assert "SetMutexProfileFraction" in captures["mutex", "first"].reason
    assert "done" == captures["mutex", "first"].status


def test_a_process_that_restarted_in_between_has_no_growth(store, process, target, turns):
    process.replies["/mutex"] = [summed("mutex", (9, 900), time_ns=1), summed("mutex", (1, 10), time_ns=2)]

    again = by_step(run(store, target, turns, kinds=("mutex", "cpu")))["mutex", "again"]

    assert ("failed", "the process restarted between the two snapshots") == (again.status, again.reason)


def test_cheap_snapshots_are_polled_beside_the_cpu_profile(store, process, target, turns):
    polled = threading.Event()
    snapshot = Reply(profile_bytes("cpu-goroutine"))
    gone = Reply(b"enough", 503, before=polled.set)
    process.replies["/goroutine"] = [snapshot, snapshot, snapshot, gone, snapshot]
    process.replies["/profile"] = Reply(profile_bytes("cpu-profile"), before=lambda: polled.wait(5))

    wall = by_step(run(store, target, turns, kinds=("cpu", "wall"), seconds=20))["wall", "first"]

    assert polled.is_set()
    assert "done" == wall.status
    assert re.match(r"2 snapshots, \d+\.\d/s; one took \d+ ms, \d+\.\d% of the time; then: HTTP 503", wall.reason)
    assert ["interval"] == bases(store, "wall")


def test_costly_snapshots_are_polled_after_the_cpu_profile(store, process, target, turns):
    pause = threading.Event()
    slow = Reply(profile_bytes("cpu-goroutine"), before=lambda: pause.wait(0.03))
    process.replies["/goroutine"] = slow

    run(store, target, turns, kinds=("cpu", "wall"))

    asked = [path for path in process.paths() if path != "/"]
    assert ["/goroutine", "/profile", "/goroutine"] == asked[:3]


def test_a_very_slow_snapshot_ends_polling_but_not_the_cpu_profile(store, process, target, turns):
    pause = threading.Event()
    process.replies["/goroutine"] = [
        Reply(profile_bytes("cpu-goroutine"), before=lambda: pause.wait(1.05)),
        Reply(profile_bytes("cpu-goroutine")),
    ]

    captures = by_step(run(store, target, turns, kinds=("cpu", "wall"), seconds=8))

    assert ("skipped", "done") == (captures["wall", "first"].status, captures["cpu", "first"].status)
    assert "polling would be a burden" in captures["wall", "first"].reason
    assert "4 s in place of 8: the process is short of CPU" == captures["cpu", "first"].reason
    assert ["4"] == [asked.query["seconds"] for asked in process.asked if asked.path == "/profile"]


@pytest.mark.parametrize(("asked", "busy", "expected"), [(10, False, 10), (10, True, 5), (4, True, 3), (2, True, 2)])
def test_a_busy_process_is_profiled_for_a_shorter_time_but_always(asked, busy, expected):
    assert expected == cpu_seconds(asked, busy=busy)


def test_a_profiler_in_use_is_waited_for(store, process, target, turns):
    process.replies["/profile"] = [BUSY, BUSY, Reply(profile_bytes("cpu-profile"))]

    captures = by_step(run(store, target, turns, kinds=("cpu",)))

    assert "done" == captures["cpu", "first"].status


def test_a_profiler_that_stays_in_use_leaves_the_wall_profile(store, process, target, turns):
    process.replies["/profile"] = BUSY

    captures = by_step(run(store, target, turns, kinds=("cpu",)))

    assert 4 == process.paths().count("/profile")
    assert ("refused", 500) == (captures["cpu", "first"].status, captures["cpu", "first"].http_status)
    assert "already in use" in captures["cpu", "first"].reason
    assert "done" == captures["wall", "first"].status


def test_a_server_that_allows_less_gets_asked_for_less(store, process, target, turns):
    too_long = Reply(b"profile duration exceeds server's WriteTimeout\n", 400)
    process.replies["/profile"] = [too_long, too_long, Reply(profile_bytes("cpu-profile"))]

    captures = by_step(run(store, target, turns, kinds=("cpu",), seconds=12))

    assert "done" == captures["cpu", "first"].status
    assert ["12", "6", "3"] == [asked.query["seconds"] for asked in process.asked if asked.path == "/profile"]


def test_leaks_are_looked_for_where_the_target_offers_it(store, process, target, turns):
    process.replies |= {"/": INDEX, "/goroutineleak": Reply(profile_bytes("goroutineleak-goroutineleak"))}

    captures = run(store, target, turns, kinds=("goroutine", "heap"))

    assert ["/goroutine", "/", "/goroutineleak", "/heap"] == process.paths()[:4]
    assert "done" == by_step(captures)["goroutineleak", "first"].status


def test_a_kind_that_was_asked_for_but_is_not_offered_is_skipped(store, process, target, turns):
    captures = by_step(run(store, target, turns, kinds=("goroutineleak", "cpu")))

    assert "skipped" == captures["goroutineleak", "first"].status
    assert "Go 1.27" in captures["goroutineleak", "first"].reason


def test_a_refused_kind_does_not_keep_the_others_from_being_taken(store, process, target, turns):
    process.replies["/heap"] = Reply(b"forbidden", 403)

    captures = by_step(run(store, target, turns))

    assert ("refused", 403) == (captures["heap", "first"].status, captures["heap", "first"].http_status)
    assert "done" == captures["cpu", "first"].status


def test_a_process_that_dies_leaves_what_was_fetched_and_a_reason(store, process, target, turns):
    process.replies["/profile"] = Reply(profile_bytes("cpu-profile"), cut_after=50)
    process.replies["/heap"] = [
        summed("heap", (1, 1, 1, 1), time_ns=1),
        Reply(b"x" * 100, cut_after=10),
    ]

    captures = by_step(run(store, target, turns, kinds=("goroutine", "heap", "mutex", "block", "cpu")))

    assert ["done"] * 4 == [captures[step].status for step in FIRST]
    assert "cut off after 50 bytes" in captures["cpu", "first"].reason
    assert "cut off after 10 bytes" in captures["heap", "again"].reason
    assert "not tried, the process does not answer" in captures["mutex", "again"].reason
    assert {"failed"} == {captures[step].status for step in [("cpu", "first"), *AGAIN]}


def test_a_process_that_is_down_is_asked_twice_and_no_more(store, target, turns):
    with serving(FakeServer()) as gone:
        url = gone.url

    captures = run(store, replace(target, pprof_url=url), turns)

    assert {"failed"} == {capture.status for capture in captures}
    assert ["Connection refused", "Connection refused"] == [capture.reason for capture in captures[:2]]
    assert all("not tried" in capture.reason for capture in captures[2:] if capture.kind != "wall")


def test_an_address_outside_the_networks_is_a_refusal_in_every_row(store, process, target, turns):
    captures = run(store, replace(target, networks=("10.0.0.0/8",)), turns, kinds=("goroutine", "cpu"))

    assert [("refused", True)] * 3 == [(each.status, "not in the networks" in each.reason) for each in captures]
    assert [] == process.asked


def test_a_url_that_is_none_is_a_refusal_too(store, target, turns):
    captures = run(store, replace(target, pprof_url="file:///etc/passwd"), turns, kinds=("heap", "cpu"))

    assert {"refused"} == {capture.status for capture in captures}


def test_the_cheap_part_and_the_first_request_are_announced_once(store, process, target, turns):
    events: list[str] = []
    sent = threading.Event()

    def first() -> None:
        events.append("asked")
        sent.set()

    wanted = request(kinds=("goroutine", "heap", "cpu"), on_first_request=first)
    process.replies["/goroutine"] = Reply(profile_bytes("cpu-goroutine"), before=lambda: sent.wait(5))
    run_round(store, target, wanted, on_cheap=lambda: events.append("cheap"), stop=threading.Event(), turns=turns)

    assert ["asked", "cheap"] == events


def test_without_a_sampled_kind_things_get_time_to_grow(store, process, target, turns):
    captures = run(store, target, turns, kinds=("heap",), seconds=0)

    assert [("heap", "first"), ("heap", "again")] == steps(captures)
    assert [("goroutine", "first")] == steps(run(store, target, turns, kinds=("goroutine",), incident_id="inc-2"))


def test_polling_needs_a_snapshot_first():
    assert [("goroutine", "first"), ("cpu", "first"), ("wall", "first"), ("goroutine", "again")] == (
        steps_for(("cpu", "wall", "nonsense"))
    )


def test_an_incident_gets_only_what_it_has_not(store, process, target, turns):
    run(store, target, turns, kinds=("goroutine", "heap"), seconds=0, cooldown=timedelta(minutes=10))
    asked = len(process.asked)

    again = run(store, target, turns, kinds=("goroutine", "heap"), cooldown=timedelta(minutes=10))
    more = run(store, target, turns, kinds=("goroutine", "heap", "mutex"), seconds=0, cooldown=timedelta(minutes=10))

    assert [] == again
    assert [("mutex", "first"), ("mutex", "again")] == steps(more)
    assert ["done", "done"] == [capture.status for capture in more]
    assert ["/mutex", "/mutex"] == process.paths()[asked:]


def test_what_failed_is_tried_again_when_the_incident_grows(store, process, target, turns):
    process.replies["/heap"] = [Reply(b"", 503), *healthy_replies()["/heap"]]
    run(store, target, turns, kinds=("heap",), seconds=0, cooldown=timedelta(minutes=10))

    again = run(store, target, turns, kinds=("heap",), seconds=0, cooldown=timedelta(minutes=10))

    assert [("heap", "first", "done")] == [(each.kind, each.phase, each.status) for each in again]


def test_another_incident_shares_what_was_just_fetched(store, process, target, turns):
    first = run(store, target, turns, kinds=("goroutine", "cpu"))
    asked = len(process.asked)

    second = run(store, target, turns, kinds=("goroutine", "cpu"), incident_id="inc-2", cooldown=timedelta(minutes=10))

    assert asked == len(process.asked)
    assert [each.profile_id for each in first] == [each.profile_id for each in second]
    assert {"done"} == {each.status for each in second}
    assert f"shared with inc-1 ({first[0].capture_id})" == second[0].reason


def test_two_alerts_at_once_ask_the_process_once(store, process, target, turns):
    """The second waits for the first, whose CPU profile it then has as well."""
    profiling, waiting = threading.Event(), threading.Event()
    process.replies["/profile"] = Reply(profile_bytes("cpu-profile"), before=lambda: (profiling.set(), waiting.wait(5)))
    found: dict[str, list[Capture]] = {}

    def start(incident: str) -> threading.Thread:
        def work() -> None:
            found[incident] = run(store, target, turns, kinds=("goroutine", "cpu"), incident_id=incident)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    threads = [start("inc-1")]
    assert profiling.wait(5)
    threads.append(start("inc-2"))
    while not captures_of(store, "inc-2"):
        waiting.wait(0.01)
    waiting.set()
    for thread in threads:
        thread.join(10)

    assert 1 == process.paths().count("/profile")
    assert [each.profile_id for each in found["inc-1"]] == [each.profile_id for each in found["inc-2"]]


def test_profiles_in_health_are_not_shared_with_an_alert(store, process, target, turns):
    run(store, target, turns, kinds=("goroutine",), incident_id=None, trigger="baseline")
    captures = run(store, target, turns, kinds=("goroutine",))

    assert [("done", "")] == [(each.status, each.reason) for each in captures]
    assert 2 == process.paths().count("/goroutine")


def test_a_round_within_the_cooldown_is_a_skipped_row(store, process, target):
    run(store, target, Turns(), kinds=("goroutine",))

    captures = run(
        store, target, Turns(), kinds=("goroutine", "cpu"), incident_id="inc-2", cooldown=timedelta(minutes=10)
    )

    assert {"skipped"} == {each.status for each in captures}
    assert captures[0].reason.startswith("cooldown of 10 min: the last round on this process began at ")
    assert ["skipped"] * 3 == [each.status for each in captures_of(store, "inc-2")]
    assert 1 == process.paths().count("/goroutine")


def test_no_more_rounds_than_allowed_in_an_hour(store, process, target):
    for number in range(2):
        run(store, target, Turns(), kinds=("goroutine",), incident_id=f"inc-{number}", max_per_hour=2)

    captures = run(store, target, Turns(), kinds=("goroutine",), incident_id="inc-9", max_per_hour=2)

    assert "2 rounds on this process within an hour; max_per_hour is 2" == captures[0].reason
    assert "skipped" == captures[0].status


def test_rounds_of_long_ago_do_not_count(store, process, target, turns):
    old = Capture(
        "cap-old", "inc-0", "checkout", "checkout", "checkout-1", "cpu", "first", "alert", "done", "",
        utc_now() - timedelta(hours=2),
    )  # fmt: skip
    plan_captures(store, [old])

    captures = run(store, target, turns, kinds=("goroutine",), cooldown=timedelta(minutes=10), max_per_hour=1)

    assert ["done"] == [each.status for each in captures]


def test_when_the_service_stops_unfinished_rows_stay_to_be_found(store, process, target, turns):
    stop, released = threading.Event(), threading.Event()
    process.replies["/profile"] = Reply(before=lambda: (stop.set(), released.wait(10)))
    wanted = request(kinds=("goroutine", "cpu"), seconds=30)

    captures = by_step(run_round(store, target, wanted, on_cheap=lambda: None, stop=stop, turns=turns))
    released.set()

    assert ("done", "running", "planned") == tuple(
        captures[step].status for step in [("goroutine", "first"), ("cpu", "first"), ("goroutine", "again")]
    )
    assert ["inc-1"] == mark_lost(store)


def test_a_baseline_gives_way_to_an_alert(store, process, target, turns):
    profiling, released = threading.Event(), threading.Event()
    process.replies["/profile"] = [
        Reply(before=lambda: (profiling.set(), released.wait(10))),
        Reply(profile_bytes("cpu-profile")),
    ]
    baseline: list[Capture] = []

    def work() -> None:
        baseline.extend(run(store, target, turns, kinds=("goroutine", "cpu"), incident_id=None, trigger="baseline"))

    thread = threading.Thread(target=work)
    thread.start()
    assert profiling.wait(5)
    captures = run(store, target, turns, kinds=("cpu",))
    thread.join(10)
    released.set()

    assert ["done"] == [each.status for each in captures]
    assert ("skipped", "gave way to an alert on the same process") == (baseline[1].status, baseline[1].reason)
    assert "done" == baseline[0].status


def test_a_store_that_is_closed_ends_the_round_without_an_error(tmp_path, target, turns):
    store = Store.open(tmp_path / "closing")
    store.control.stop()
    cheap = threading.Event()

    captures = run_round(
        store, target, request(incident_id=None), on_cheap=cheap.set, stop=threading.Event(), turns=turns
    )
    store.close()

    assert ([], True) == (captures, cheap.is_set())


def test_a_turn_is_not_waited_for_without_end(turns):
    holder, other = Interruption(threading.Event()), Interruption(threading.Event())

    with (
        turns.take("p", holder, yields=False, timeout_s=1) as mine,
        turns.take("p", other, yields=True, timeout_s=0.05) as second,
    ):
        assert (True, False) == (mine, second)
    with turns.take("p", other, yields=False, timeout_s=0.05) as free:
        assert free
    assert not holder.is_set()


def test_a_row_tells_what_it_cost_the_target(store, process, target, turns):
    process.replies["/profile"] = [BUSY, Reply(profile_bytes("cpu-profile"))]

    captures = by_step(run(store, target, turns, kinds=("heap", "cpu", "wall"), seconds=1))

    cpu, wall, heap = captures["cpu", "first"], captures["wall", "first"], captures["heap", "first"]
    assert (2, 1) == (cpu.requests, cpu.seconds)
    assert (1, None) == (heap.requests, heap.seconds)
    assert wall.requests is not None
    assert f"{wall.requests} snapshots" in wall.reason
    assert all(each.took_ms is not None and each.took_ms >= 0 for each in captures.values())
    assert list(captures.values()) == captures_of(store, "inc-1")


def test_a_refusal_costs_no_seconds(store, process, target, turns):
    process.replies["/profile"] = Reply(b"unauthorized", 401)

    cpu = by_step(run(store, target, turns, kinds=("cpu",), seconds=5))["cpu", "first"]

    assert ("refused", 401, None, 1) == (cpu.status, cpu.http_status, cpu.seconds, cpu.requests)
    assert "check the credentials" in cpu.reason


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(30, ["10", "10", "10"]), (25, ["10", "10", "5"]), (22, ["10", "10"]), (None, ["10", "10", "10"])],
)
def test_a_process_is_not_profiled_for_more_seconds_an_hour_than_allowed(store, process, target, budget, expected):
    for number in range(3):
        captures = by_step(
            run(
                store,
                target,
                Turns(),
                kinds=("cpu",),
                incident_id=f"inc-{number}",
                seconds=10,
                seconds_per_hour=budget,
            )
        )

    assert expected == [asked.query["seconds"] for asked in process.asked if asked.path == "/profile"]
    if len(expected) < 3:
        assert "seconds_per_hour is 22, of which 2 are left" == captures["cpu", "first"].reason
        assert "skipped" == captures["cpu", "first"].status


def fire(store: Store, incident: str, *, severity: str = "warning", value: float | None = None, expr: str = "") -> str:
    """An incident of its own with one alert; its id."""
    labels = {"alertname": "HighLatency", "service": "checkout", "severity": severity}
    firing = Alert(fingerprint_of(labels | {"n": incident}), "firing", labels, {}, utc_now(), None)
    group = AlertGroup("alertmanager", incident, "r", "firing", "", (firing,), utc_now(), b"{}")
    key = IncidentKey(incident, "checkout")
    incident_id = save_group(store, group, lambda _: key, quiet=timedelta(0)).incidents[0]
    (episode,) = episodes_of(store, incident_id)
    save_enrichment(store, episode.episode_id, expr=expr, active_at=None, value=value)
    return incident_id


@pytest.mark.parametrize(
    ("alerts", "is_taken"),
    [
        (({}, {}), False),
        (({}, {"severity": "critical"}), True),
        (({"severity": "page"}, {"severity": "critical"}), False),
        (({"severity": "critical"}, {}), False),
        (({"value": 1.0}, {"value": 1.4}), False),
        (({"value": 1.0}, {"value": 1.5}), True),
        (({"value": 0.9, "expr": "ok < 0.95"}, {"value": 0.5, "expr": "ok < 0.95"}), True),
        (({"value": 0.5, "expr": "ok < 0.95"}, {"value": 0.9, "expr": "ok < 0.95"}), False),
        (({}, {"value": 9.0}), False),
    ],
)
def test_only_what_is_worse_than_the_last_time_is_captured_within_the_cooldown(
    store, process, target, alerts, is_taken
):
    cooldown = timedelta(minutes=10)
    for number, alert in enumerate(alerts):
        incident = fire(store, f"g{number}", **alert)
        captures = run(store, target, Turns(), kinds=("goroutine",), incident_id=incident, cooldown=cooldown)

    assert ["done" if is_taken else "skipped"] == [each.status for each in captures]


def test_an_alert_whose_value_is_known_later_is_looked_at_again(store, process, target):
    cooldown = timedelta(minutes=10)
    run(store, target, Turns(), kinds=("goroutine",), incident_id=fire(store, "g0", value=1.0), cooldown=cooldown)
    incident = fire(store, "g1")
    wanted = {"kinds": ("goroutine",), "incident_id": incident, "cooldown": cooldown}
    first = run(store, target, Turns(), **wanted)
    second = run(store, target, Turns(), **wanted)
    save_enrichment(store, episodes_of(store, incident)[0].episode_id, expr="", active_at=None, value=2.0)
    third = run(store, target, Turns(), **wanted)

    assert was_left_alone(first)
    assert [] == second
    assert ["done"] == [each.status for each in third]


def test_what_was_captured_before_an_incident_began_is_not_shared_with_it(store, process, target, turns):
    """Two incidents in a minute: what the first one got shows nothing of the second one's fault."""
    run(store, target, turns, kinds=("goroutine",), incident_id=fire(store, "g0"))
    incident = fire(store, "g1")
    captures = run(store, target, turns, kinds=("goroutine",), incident_id=incident)

    assert [("done", "")] == [(each.status, each.reason) for each in captures]
    assert 2 == process.paths().count("/goroutine")


def test_after_a_snapshot_of_more_than_a_second_the_incident_polls_no_more(store, process, target):
    pause = threading.Event()
    slow = Reply(profile_bytes("cpu-goroutine"), before=lambda: pause.wait(1.05))
    process.replies["/goroutine"] = [Reply(profile_bytes("cpu-goroutine")), slow, Reply(profile_bytes("cpu-goroutine"))]

    first = by_step(run(store, target, Turns(), kinds=("wall",), seconds=3))
    second = by_step(run(store, target, Turns(), kinds=("wall",), seconds=3, trigger="resolved"))

    assert "a goroutine snapshot took 1." in first["wall", "first"].reason
    assert "done" == first["wall", "first"].status
    assert ("skipped", True) == (
        second["wall", "first"].status,
        second["wall", "first"].reason.endswith("polling would be a burden"),
    )


def waiting_for_a_processor(count: int) -> Reply:
    """A goroutine profile in which so many have not run yet."""
    samples = (Sample((Frame("main.work"), Frame("main.main")), (1,)), Sample((), (count,)))
    return Reply(encode(Profile((ValueType("goroutine", "count"),), samples, time_ns=1)))


def test_goroutines_that_wait_for_a_processor_tell_an_overload(store, process, target, turns):
    process.replies["/goroutine"] = waiting_for_a_processor(40)
    process.replies["/trace"] = Reply(b"go 1.26 trace\x00\x00\x00")

    captures = by_step(run(store, target, turns, kinds=("goroutine", "cpu", "trace"), seconds=8))

    assert ["4"] == [asked.query["seconds"] for asked in process.asked if asked.path == "/profile"]
    assert "4 s in place of 8: the process is short of CPU" == captures["cpu", "first"].reason
    assert "skipped" == captures["trace", "first"].status
    assert (0.1, 1.5, 3.0) == (interval_s(0.002), interval_s(0.03), interval_s(0.03, BUSY_COST))


def test_an_execution_trace_is_kept_as_a_file(store, process, target, turns):
    process.replies["/trace"] = Reply(b"go 1.26 trace\x00\x00\x00 and more")

    captures = by_step(run(store, target, turns, kinds=("goroutine", "trace"), seconds=30))

    trace = captures["trace", "first"]
    assert ("done", 5, None) == (trace.status, trace.seconds, trace.profile_id)
    assert b"go 1.26 trace\x00\x00\x00 and more" == find_artefact(store, trace.capture_id).read_bytes()
    assert 0 == forget_artefacts(store, utc_now() - timedelta(hours=1))
    assert 1 == forget_artefacts(store, utc_now() + timedelta(hours=1))
    with pytest.raises(NotFound):
        find_artefact(store, trace.capture_id)


def test_what_is_no_execution_trace_is_a_failure(store, process, target, turns):
    process.replies["/trace"] = [Reply(b"<html>"), Reply(b"Could not enable tracing: already enabled", 500)]

    first = by_step(run(store, target, turns, kinds=("trace",)))["trace", "first"]
    second = by_step(run(store, target, turns, kinds=("trace",), incident_id="inc-2"))["trace", "first"]

    assert ("failed", "what the target sent is no execution trace") == (first.status, first.reason)
    assert "refused" == second.status


@pytest.mark.parametrize("name", ["..", "cap-1/../../control", "", "CAP"])
def test_no_other_file_is_an_artefact(store, name):
    with pytest.raises(NotFound):
        find_artefact(store, name)
