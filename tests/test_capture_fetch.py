from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diagnose.capture.fetch import Connection, Fetched, Interrupted, Limits, ProfilerBusy, TooManySeconds, fetch
from diagnose.capture.index import Index
from diagnose.capture.network import Unreachable
from diagnose.capture.targets import AllowedTarget
from diagnose.capture.wall import Polled, interval_s, is_cheap, poll
from diagnose.config import Authorization, Client
from diagnose.errors import CaptureError
from diagnose.kinds import PROFILE_KINDS
from diagnose.pprof.wall import WallProfile
from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving
from tests.pprof.small import goroutines

CPU, GOROUTINE, HEAP = (PROFILE_KINDS[name] for name in ("cpu", "goroutine", "heap"))
INDEX_PAGE = b"""<table><tr><td>8</td><td><a href='goroutine?debug=1'>goroutine</a></td></tr>
<tr><td>0</td><td><a href='goroutineleak?debug=1'>goroutineleak</a></td></tr></table>"""


@pytest.fixture
def process() -> Iterator[FakeServer]:
    replies = {"/debug/pprof/goroutine": Reply(profile_bytes("leak-goroutine"))}
    with serving(FakeServer(replies=replies)) as server:
        yield server


@pytest.fixture
def target(process) -> AllowedTarget:
    url = f"{process.url}/debug/pprof"
    return AllowedTarget("checkout", "checkout", "checkout-1", url, ("127.0.0.0/8",), {})


@pytest.fixture
def connection(target) -> Iterator[Connection]:
    with Connection(target) as opened:
        yield opened


def caught(connection: Connection, kind=GOROUTINE, **more: int) -> CaptureError:
    with pytest.raises(CaptureError) as error:
        fetch(connection, kind, **more)
    return error.value


def test_a_profile_comes_parsed_with_its_bytes_and_times(process, connection):
    fetched = fetch(connection, GOROUTINE)

    assert profile_bytes("leak-goroutine") == fetched.body
    assert "goroutine" == fetched.profile.value_types[0].type
    assert fetched.started_at <= fetched.ended_at
    assert 0 < fetched.took_s < 5
    assert {} == process.asked[0].query


def test_a_sampling_kind_is_told_its_seconds(process, connection):
    process.replies["/debug/pprof/profile"] = Reply(profile_bytes("cpu-profile"))

    fetch(connection, CPU, seconds=7)

    assert {"seconds": "7"} == process.asked[0].query


def test_one_connection_serves_several_requests(process, connection):
    for _ in range(3):
        fetch(connection, GOROUTINE)

    assert 1 == len({asked.port for asked in process.asked})


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(process, connection):
    body = profile_bytes("leak-goroutine")
    process.replies["/debug/pprof/goroutine"] = [
        Reply(body, headers={"Connection": "close"}),
        Reply(body, cut_after=len(body)),  # closes without having said so
        Reply(body),
    ]
    for _ in range(3):
        fetch(connection, GOROUTINE)

    assert 3 == len({asked.port for asked in process.asked})


def test_credentials_of_the_entry_go_along(process, target, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    client = Client(authorization=Authorization(credentials_file=token), http_headers={"X-Tenant": "a"})
    with Connection(replace(target, client=client)) as connection:
        fetch(connection, GOROUTINE)
        token.unlink()
        error = caught(connection)

    assert ("Bearer s3cret", "a") == tuple(process.asked[0].headers[name] for name in ("Authorization", "X-Tenant"))
    assert "a file named in its entry in targets cannot be used" in str(error)


BUSY = b"Could not enable CPU profiling: cpu profiling already in use\n"


@pytest.mark.parametrize(
    ("reply", "outcome", "says"),
    [
        (Reply(BUSY, 500), ("refused", True), "HTTP 500: Could not enable CPU profiling: cpu profiling already in use"),
        (Reply(b"profile duration exceeds server's WriteTimeout\n", 400), ("refused", True), "WriteTimeout"),
        (Reply(b"Unknown profile\n", 404), ("refused", False), "HTTP 404: Unknown profile"),
        (Reply(b"", 401), ("refused", False), "HTTP 401 (check the credentials"),
        (Reply(b"no", 403), ("refused", False), "HTTP 403: no (check the credentials"),
        (Reply(b"bad gateway", 502), ("failed", True), "HTTP 502"),
        (Reply(b"\x1b[31mevil\x00\n" * 90, 503), ("failed", True), "HTTP 503: [31mevil"),
        (Reply(b""), ("failed", False), "no usable profile: the profile is empty"),
        (Reply(b"<html>login</html>"), ("failed", False), "no usable profile"),
        (Reply(profile_bytes("cpu-profile")[:-20]), ("failed", False), "the gzip is cut off"),
        (Reply(profile_bytes("cpu-heap")), ("failed", False), "not a cpu profile: it has alloc_objects"),
    ],
)
def test_every_refusal_and_failure_says_what_it_was(process, connection, reply, outcome, says):
    process.replies["/debug/pprof/profile"] = reply

    error = caught(connection, CPU, seconds=1)

    assert (*outcome, reply.status) == (error.status, error.retryable, error.http_status)
    assert says in str(error)
    assert len(str(error)) < 250
    assert "\x1b" not in str(error)


def test_a_profiler_in_use_and_too_many_seconds_are_told_apart(process, connection):
    process.replies["/debug/pprof/profile"] = [Reply(BUSY, 500), Reply(b"exceeds server's WriteTimeout", 400)]

    assert isinstance(caught(connection, CPU), ProfilerBusy)
    assert isinstance(caught(connection, CPU), TooManySeconds)


def test_an_answer_that_is_cut_off_is_a_failure(process, connection):
    process.replies["/debug/pprof/goroutine"] = Reply(profile_bytes("leak-goroutine"), cut_after=100)

    assert "cut off after 100 bytes" in str(caught(connection))


def test_a_process_that_is_gone_is_unreachable(target):
    with serving(FakeServer()) as gone:
        url = gone.url
    with Connection(replace(target, pprof_url=url)) as connection:
        error = caught(connection)

    assert (Unreachable, "Connection refused", True) == (type(error).__mro__[1], str(error), error.retryable)


def test_a_process_that_hangs_is_left_in_time(process, target):
    released = threading.Event()
    process.replies["/debug/pprof/goroutine"] = Reply(before=lambda: released.wait(10))

    with Connection(target, limits=Limits(snapshot_s=0.1)) as connection:
        error = caught(connection)
    released.set()

    assert "no answer within 0.1 s" == str(error)


def test_a_profile_under_way_can_be_interrupted(process, target):
    released, stop = threading.Event(), threading.Event()
    process.replies["/debug/pprof/profile"] = Reply(before=lambda: (stop.set(), released.wait(10)))
    began_s = time.monotonic()

    with Connection(target, interrupted=stop.is_set) as connection:
        assert isinstance(caught(connection, CPU, seconds=30), Interrupted)
    released.set()

    assert time.monotonic() - began_s < 2


def test_a_body_above_the_limit_is_not_read_to_its_end(process, target):
    process.replies["/debug/pprof/goroutine"] = Reply(b"x" * 5000)

    with Connection(target, limits=Limits(body_bytes=1000)) as connection:
        assert "the answer is larger than 1000 bytes" == str(caught(connection))


def test_a_small_body_that_inflates_to_a_large_one_is_refused(target):
    with Connection(target, limits=Limits(inflated_bytes=2000)) as connection:
        assert "inflates to more than 2000 bytes" in str(caught(connection))


def test_the_index_page_says_what_there_is_and_is_asked_once(process, connection):
    process.replies["/debug/pprof/"] = Reply(INDEX_PAGE)
    index = Index()

    assert index.offers(connection, "goroutineleak")
    assert not index.offers(connection, "mutex")
    assert ["/debug/pprof/"] == process.paths()


def test_a_process_without_an_index_page_offers_nothing_by_name(process, connection):
    assert not Index().offers(connection, "goroutineleak")

    process.missing = Reply(b"down", 503)
    with pytest.raises(CaptureError, match="HTTP 503: down"):
        Index().offers(connection, "goroutineleak")


@pytest.mark.parametrize(
    ("snapshot_s", "interval", "cheap"),
    [(0.0005, 0.1, True), (0.002, 0.1, True), (0.02, 1.0, True), (0.03, 1.5, False)],
)
def test_the_cost_of_a_snapshot_sets_the_rate(snapshot_s, interval, cheap):
    assert (interval, cheap) == (pytest.approx(interval_s(snapshot_s)), is_cheap(snapshot_s, seconds=10))


def no_pause(_: float) -> bool:
    return False


def test_polled_snapshots_become_one_profile(process, connection):
    pauses = iter([False, False, True])

    polled = poll(connection, seconds=10, pause=lambda _: next(pauses))

    assert (3, "", 3 * len(profile_bytes("leak-goroutine"))) == (polled.snapshots, polled.ended_by, polled.bytes)
    assert ["samples", "wall"] == [each.type for each in polled.wall.profile.value_types]


def test_polling_ends_with_its_time(connection):
    assert 1 == poll(connection, seconds=0.0, pause=no_pause).snapshots


def test_polling_keeps_what_it_got_when_the_process_goes_away(process, connection):
    reply = Reply(profile_bytes("leak-goroutine"))
    process.replies["/debug/pprof/goroutine"] = [reply, reply, Reply(b"shutting down", 503)]

    polled = poll(connection, seconds=10, pause=no_pause)

    assert (2, "then: HTTP 503: shutting down") == (polled.snapshots, polled.ended_by)


def test_polling_that_gets_nothing_fails(process, connection):
    process.replies["/debug/pprof/goroutine"] = Reply(b"", 404)

    with pytest.raises(CaptureError, match="HTTP 404"):
        poll(connection, seconds=10, pause=no_pause)


def test_the_rate_and_the_cost_are_said():
    wall = WallProfile(goroutines({"main.main": 1}), 0)

    assert "50 snapshots, 10.0/s; one took 2 ms, 2.0% of the time" == str(Polled(wall, 50, 5.0, 0.1, 1000))
    assert str(Polled(wall, 1, 1.5, 1.5, 1, "a snapshot took 1.5 s")).endswith("; a snapshot took 1.5 s")


def test_a_fetched_profile_is_plain_data(connection):
    assert isinstance(fetch(connection, GOROUTINE), Fetched)
