from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from diagnose.model import Exemplar, from_unix_ns
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.diff import diff
from diagnose.pprof.filters import without_profiler
from diagnose.pprof.kinds import guess_kind
from diagnose.pprof.names import is_profiler_itself
from diagnose.pprof.profile import Profile, Sample, ValueType
from diagnose.pprof.sides import Diff
from diagnose.pprof.significance import p_value, weaker, z_of_rate, z_of_share
from diagnose.pprof.subtract import subtract
from diagnose.pprof.top import top
from diagnose.pprof.tree import build_tree
from diagnose.receive.otlp import PROTOBUF, decode_metrics, decode_traces
from diagnose.store.db import Store
from diagnose.store.manifest import TABLES
from diagnose.store.metrics import save_exemplars, save_metrics, save_series, series_points
from diagnose.store.profiles import save_profile
from diagnose.store.spans import find_traces, save_spans, trace_spans
from tests.otlp import RECORDED as RECORDED_OTLP
from tests.otlp import SECOND, START_NS, TRACE_ID, add_traces, span, traces
from tests.pprof.small import RECORDED, TICK_NS, cpu_profile, frames_of, generated

START = from_unix_ns(START_NS)
VIEWS = ("spans", "metrics", "histograms", "exemplars", "profiles", "profile_samples")
POLLED = "net/http.(*conn).serve > net/http/pprof.Index > runtime/pprof.writeGoroutine"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the tests that only add profiles and ask for them by id."""
    with Store.open(tmp_path_factory.mktemp("shared") / "data") as opened:
        yield opened


def save(
    store: Store, profile: Profile, *, basis: str = "interval", service: str = "checkout", instance: str = "checkout-1"
) -> str:
    stored = save_profile(
        store, profile, encode(profile), service=service, instance=instance, kind=guess_kind(profile), basis=basis
    )
    return stored.profile_id


def send(store: Store, *spans: Span, service: str = "checkout", **resource) -> None:
    assert save_spans(store, decode_traces(traces(*spans, service=service, **resource), PROTOBUF))


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_has_a_comment(shared, view):
    rows = shared.rows("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = $view", {"view": view})

    assert rows
    assert [] == [row["column_name"] for row in rows if not row["comment"]]


def test_no_view_or_macro_names_a_database(shared):
    texts = shared.rows(
        "SELECT sql AS text FROM duckdb_views() WHERE NOT internal AND NOT list_contains($of_segments, view_name) "
        "UNION ALL SELECT macro_definition FROM duckdb_functions() WHERE NOT internal AND macro_definition IS NOT NULL",
        {"of_segments": [table.name for table in TABLES]},  # they are made anew for each database
    )

    assert len(texts) > 10
    assert [] == [
        row["text"] for row in texts if any(name in row["text"] for name in ("telemetry.", "control.", "memory."))
    ]


# profiles


def assert_top_agrees(store: Store, profile: Profile, profile_id: str) -> None:
    for value_type in profile.sample_types:
        rows = store.rows("SELECT * FROM top_functions($id, $type)", {"id": profile_id, "type": value_type.type})
        expected = top(profile, value_type.type)

        assert [(each.name, each.flat, each.cum) for each in expected.functions] == [
            (row["function"], row["flat"], row["cum"]) for row in rows
        ]


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_top_functions_equals_top(shared, file):
    profile = decode(file.read_bytes())
    assert_top_agrees(shared, profile, save(shared, profile))


def test_top_functions_counts_recursion_once_and_shares_leave_the_profiler_out(shared):
    profile = cpu_profile({"main.main > main.fib > main.fib": 3, "main.main": 1, POLLED: 4, "": 4})
    profile_id = save(shared, profile)
    assert_top_agrees(shared, profile, profile_id)
    rows = {row["function"]: row for row in shared.rows("SELECT * FROM top_functions($id)", {"id": profile_id})}

    assert (3 * TICK_NS, 3 * TICK_NS, 37.5, 50.0) == (
        rows["main.fib"]["flat"],
        rows["main.fib"]["cum"],
        rows["main.fib"]["flat_percent"],
        rows["main.main"]["cum_percent"],
    )
    assert (4 * TICK_NS, 0.0) == (rows["net/http/pprof.Index"]["cum"], rows["net/http/pprof.Index"]["cum_percent"])


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_flamegraph_has_the_nodes_of_the_call_tree(shared, file):
    profile = decode(file.read_bytes())
    rows = shared.rows("SELECT * FROM flamegraph($id)", {"id": save(shared, profile)})
    paths: dict[int, tuple[str, ...]] = {}
    for row in rows:  # callers come first
        paths[row["node_no"]] = (*paths.get(row["parent_no"], ()), row["function"])
    tree = build_tree(profile)
    expected: list[tuple[str, ...]] = []
    for node in tree.nodes:
        expected.append((*(expected[node.parent] if node.parent >= 0 else ()), node.function))

    assert {path: (node.total, node.self_value) for path, node in zip(expected, tree.nodes, strict=True)} == {
        paths[row["node_no"]]: (row["total"], row["self"]) for row in rows
    }


def test_flamegraph_marks_what_exists_only_because_a_profile_was_taken(shared):
    profile = cpu_profile({"net/http.(*conn).serve > main.buy": 8, POLLED: 2, "": 5})
    rows = shared.rows("SELECT * FROM flamegraph($id)", {"id": save(shared, profile)})

    assert {"net/http/pprof.Index", "runtime/pprof.writeGoroutine"} == {
        row["function"] for row in rows if row["is_profiler"]
    }
    assert (15 * TICK_NS, 5 * TICK_NS) == (rows[0]["total"], rows[0]["self"])


def assert_diff_agrees(store: Store, base: Profile, new: Profile, value_type: str | None = None) -> Diff:
    ids = {"base": save(store, base), "new": save(store, new), "type": value_type}
    rows = {row["function"]: row for row in store.rows("SELECT * FROM profile_diff($base, $new, $type)", ids)}
    result = diff(base, new, value_type)
    by_cum = {each.name: each for each in diff(base, new, value_type, by="cum").functions}

    assert {each.name for each in result.functions} == set(rows)
    for each in result.functions:
        row = rows[each.name]
        assert (each.base_flat, each.base_cum, each.new_flat, each.new_cum, each.flat, each.cum) == tuple(
            row[name] for name in ("base_flat", "base_cum", "new_flat", "new_cum", "flat", "cum")
        )
        assert (each.significant, by_cum[each.name].significant) == (row["significant"], row["cum_significant"])
        assert_close(each.z, row["z"])
        assert_close(by_cum[each.name].z, row["cum_z"])
        assert_close(each.flat_points, row["flat_points"])
        assert_close(each.cum_points, row["cum_points"])
    return result


def assert_close(expected: float | None, actual: float | None) -> None:
    if expected is None:
        assert actual is None
    else:
        assert pytest.approx(expected, rel=1e-9, abs=1e-9) == actual


def recorded(name: str) -> Profile:
    return decode(next(file for file in RECORDED if file.name == f"{name}.pb.gz").read_bytes())


PAIRS = [
    ("error-profile", "cpu-profile"),
    ("cpu-profile", "lock-profile"),
    ("error-heap", "heap-heap"),
    ("cpu-heap", "leak-heap"),
    ("cpu-goroutine", "leak-goroutine"),
    ("cpu-block", "lock-block"),
    ("cpu-mutex", "lock-mutex"),
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_profile_diff_equals_diff_on_recorded_profiles(shared, before, after):
    base, new = recorded(before), recorded(after)
    for value_type in new.sample_types:
        assert_diff_agrees(shared, base, new, value_type.type)


def test_profile_diff_equals_diff_when_something_was_taken_away(shared):
    grown = subtract(recorded("leak-heap"), recorded("cpu-heap"))

    assert any(value < 0 for sample in grown.samples for value in sample.values)
    for value_type in grown.sample_types:
        assert_diff_agrees(shared, recorded("error-heap"), grown, value_type.type)


def test_profile_diff_equals_diff_with_many_functions_near_the_threshold(shared):
    base = {f"main.main > main.f{n}": 100 + n for n in range(300)}
    grown = {path: count + (n % 5 == 0) * n for n, (path, count) in enumerate(base.items())}
    new = grown | {"main.new": 12, "": 40, POLLED: 99}
    result = assert_diff_agrees(shared, cpu_profile(base), cpu_profile(new, seconds=12), None)
    z_values = [abs(each.z) for each in result.functions if each.z is not None]

    assert 0 < sum(each.significant for each in result.functions) < len(z_values)


def test_profile_diff_equals_diff_on_deep_random_trees(shared):
    assert_diff_agrees(shared, generated(400, functions=60, seed=1), generated(600, functions=60, seed=2))


def test_profile_diff_of_one_profile_with_itself_finds_nothing(shared):
    profile = recorded("cpu-profile")

    assert not any(each.significant for each in assert_diff_agrees(shared, profile, profile).functions)


@pytest.mark.parametrize(
    "call",
    [
        "top_functions('x', 'cpu')",
        "top_functions('{id}', 'x')",
        "flamegraph('x', 'cpu')",
        "flamegraph('{id}', 'x')",
        "profile_diff('x', '{id}', 'cpu')",
        "profile_diff('{id}', 'x', 'cpu')",
        "profile_diff('{id}', '{id}', 'x')",
        "trace('x')",
        "span_cpu('x')",
        "compare_attributes('x', now() - INTERVAL 1 HOUR, now())",
        "service_map(now() - INTERVAL 1 HOUR, now())",
    ],
)
def test_what_is_not_there_gives_no_rows(shared, call):
    profile_id = save(shared, cpu_profile({"main.main": 3}))

    assert [] == shared.rows(f"SELECT * FROM {call.format(id=profile_id)}")  # noqa: S608  the test's own text


@pytest.mark.parametrize("z", [0, 0.1, 0.66, 0.67, 1, 1.96, 2.57, 3.3, 5, 5.65, 5.66, 6.5, 10, 30, 37.5, 45, -4])
def test_two_sided_p_is_exact(shared, z):
    expected = p_value(z)
    assert (
        pytest.approx(expected, rel=1e-12, abs=1e-300)
        == shared.row("SELECT two_sided_p($z::DOUBLE) AS p", {"z": z})["p"]
    )


def test_the_tests_in_sql_are_those_of_significance(shared):
    for numbers in ((100, 200, 10, 10), (0, 0, 10, 10), (60, 1400, 10, 12.5), (5, 5, 5, 5), (3, 9, 0, 4)):
        row = shared.row(
            "SELECT z_of_rate($a::DOUBLE, $b::DOUBLE, 10.0, 12.0) AS rate, "
            "z_of_share($a::DOUBLE, $b::DOUBLE, $na::DOUBLE, $nb::DOUBLE) AS share",
            dict(zip(("a", "b", "na", "nb"), numbers, strict=True)),
        )
        a, b, all_a, all_b = numbers

        assert math.isclose(z_of_rate(a, b, 10, 12), row["rate"])
        assert math.isclose(z_of_share(a, b, all_a, all_b), row["share"])
    for pair in ((3.0, -2.0), (3.0, 2.0), (-3.0, -3.0), (0.0, 5.0), (-1.0, -4.0)):
        assert weaker(*pair) == shared.row("SELECT weaker($a, $b) AS z", {"a": pair[0], "b": pair[1]})["z"]


def test_profile_samples_has_one_row_per_sample_and_value_type(shared):
    profile = recorded("cpu-profile")
    profile_id = save(shared, profile)
    rows = shared.rows("SELECT * FROM profile_samples WHERE profile_id = $id", {"id": profile_id})
    stacks = {tuple(frame.function for frame in reversed(sample.frames)) for sample in profile.samples}

    assert stacks == {tuple(row["functions"]) for row in rows}
    assert {("samples", "count"), ("cpu", "nanoseconds")} == {(row["value_type"], row["unit"]) for row in rows}
    assert profile.total("cpu") == sum(row["value"] for row in rows if row["value_type"] == "cpu")
    assert all(row["functions"][-1] == row["leaf_function"] for row in rows)
    assert sum(not is_profiler_itself(sample.frames) for sample in profile.samples) == len(
        without_profiler(profile).samples
    )
    assert {row["is_profiler"] for row in rows} == {is_profiler_itself(sample.frames) for sample in profile.samples}


def test_profile_samples_join_spans_on_the_trace(store):
    save(store, recorded("cpu-profile"))
    save_spans(store, decode_traces((RECORDED_OTLP / "cpu-traces.bin").read_bytes(), PROTOBUF))
    row = store.row(
        "SELECT count(DISTINCT trace_id) AS traces, count(DISTINCT own_function) AS functions "
        "FROM profile_samples JOIN spans USING (trace_id, span_id) WHERE value_type = 'samples'"
    )

    assert row["traces"] > 50


# spans


def tree_of_spans() -> tuple[Span, ...]:
    """A root of 10 s with two overlapping children (1–4, 3–6), one that sticks out (8–12), and a grandchild."""
    return (
        span("0000000000000001", duration_s=10),
        span("0000000000000003", parent="0000000000000001", start_s=3, duration_s=3),
        span("0000000000000002", parent="0000000000000001", start_s=1, duration_s=3),
        span("0000000000000004", parent="0000000000000001", start_s=8, duration_s=4),
        span("0000000000000005", parent="0000000000000002", start_s=1, duration_s=1),
    )


def test_a_trace_comes_as_a_waterfall_with_self_times(store):
    send(store, *tree_of_spans())
    rows = trace_spans(store, TRACE_ID.upper())

    assert [("1", 0, 0, 3), ("2", 1, 1, 2), ("5", 2, 1, 1), ("3", 1, 3, 3), ("4", 1, 8, 4)] == [
        (row["span_id"][-1], row["depth"], row["offset_ns"] // SECOND, row["self_ns"] / SECOND) for row in rows
    ]


def test_a_span_sent_twice_counts_once_and_odd_parents_do_no_harm(store):
    send(store, *tree_of_spans())
    send(store, span("0000000000000001", duration_s=10), span("0000000000000006", parent="00000000000000ff", start_s=2))
    send(
        store,
        span("0000000000000007", parent="0000000000000007", start_s=20),
        span("0000000000000008", parent="0000000000000009", start_s=21),
        span("0000000000000009", parent="0000000000000008", start_s=22),
    )
    rows = trace_spans(store, TRACE_ID)

    assert ["1", "2", "5", "3", "4", "6", "7", "8", "9"] == [row["span_id"][-1] for row in rows]
    assert [0, 0] == [row["depth"] for row in rows if row["span_id"][-1] in "67"]
    assert all(row["self_ns"] >= 0 for row in rows)


def test_traces_are_found_by_window_duration_error_and_route(store):
    def one(number: int, **more) -> Span:
        return span(f"{number:016x}", trace_id=f"{number:032x}", start_s=number, duration_s=number, **more)

    failed = {"status": Status(code=Status.STATUS_CODE_ERROR)}
    send(store, one(1), one(2, **failed), one(3, attributes={"http.route": "/buy"}))
    send(store, one(4), service="other")

    def found(**wanted) -> list[int]:
        window = {"service": "checkout", "since": START, "until": START + timedelta(seconds=4)} | wanted
        return [int(row["trace_id"], 16) for row in find_traces(store, **window)]

    assert [3, 2, 1] == found()
    assert [3, 2] == found(limit=2)
    assert [3] == found(min_duration_ns=2 * SECOND + 1)
    assert ([2], [3, 1]) == (found(error=True), found(error=False))
    assert [3] == found(route="/buy")
    assert [2, 1] == found(until=START + timedelta(seconds=3))
    row = find_traces(store, service="checkout", since=START, until=START + timedelta(seconds=2))[0]
    assert ("GET /", SECOND, START + timedelta(seconds=1), "checkout", False) == tuple(
        row[name] for name in ("root_name", "duration_ns", "start_time", "service_name", "error")
    )


def test_the_service_map_has_calls_between_services_and_to_the_outside(store):
    request = ExportTraceServiceRequest()
    failed = Status(code=Status.STATUS_CODE_ERROR)
    client = {"kind": Span.SPAN_KIND_CLIENT}
    gateway = [
        span("0000000000000001"),
        span("0000000000000002", parent="0000000000000001", **client),
        span("0000000000000003", parent="0000000000000001", attributes={"db.system.name": "postgresql"}, **client),
    ]
    add_traces(request, *gateway, service="gateway")
    add_traces(
        request, span("0000000000000004", parent="0000000000000002", duration_s=0.5, status=failed), service="checkout"
    )
    save_spans(store, decode_traces(request.SerializeToString(), PROTOBUF))
    rows = store.rows(
        "SELECT * FROM service_map($since, $until) ORDER BY callee",
        {"since": START, "until": START + timedelta(hours=1)},
    )

    assert [
        ("gateway", "checkout", "service", 1, 1, 5e8, 5e8),
        ("gateway", "postgresql", "external", 1, 0, 1e9, 1e9),
    ] == [tuple(row.values()) for row in rows]


def test_percentiles(store):
    send(store, *(span(f"{n:016x}", duration_s=n / 10) for n in range(1, 102)))
    row = store.row("SELECT p50(duration_ns) AS p50, p95(duration_ns) AS p95, p99(duration_ns) AS p99 FROM spans")

    assert (5.1e9, 9.6e9, 10.0e9) == tuple(row.values())


def test_compare_attributes_names_what_the_slow_ones_share(store):
    def request(number: int, customer: str, duration_s: float) -> Span:
        attributes = {"customer": customer, "http.request.method": "GET"}
        return span(f"{number + 1:016x}", trace_id=f"{number + 1:032x}", duration_s=duration_s, attributes=attributes)

    send(store, *(request(n, "big" if n % 25 == 0 else f"c{n % 7}", 5 if n % 25 == 0 else 0.1) for n in range(200)))
    rows = store.rows(
        "SELECT * FROM compare_attributes('checkout', $since, $until)",
        {"since": START, "until": START + timedelta(minutes=1)},
    )

    assert ("customer", "big", 8, 100.0, 0, 0.0) == tuple(rows[0].values())[:6]
    assert rows[0]["z"] > 10
    assert "http.request.method" not in {row["key"] for row in rows}


# CPU per span


def profiled(counts: dict[str, int], span_id: str, *, seconds: float = 10) -> Profile:
    labels = {"trace_id": TRACE_ID, "span_id": span_id}
    return replace(cpu_profile(counts, seconds=seconds, labels=labels), time_ns=START_NS)


def span_cpu(store: Store) -> dict[str, dict]:
    rows = store.rows("SELECT * FROM span_cpu($id)", {"id": TRACE_ID})
    return {row["span_id"][-1]: row for row in rows}


def test_span_cpu_compares_expected_with_seen(store):
    send(store, span("0000000000000001", duration_s=2))
    profile_id = save(store, profiled({"main.main": 50}, "0000000000000001", seconds=1))
    row = span_cpu(store)["1"]

    assert (SECOND, 100, 50, 50 * TICK_NS, 50.0, [profile_id], None) == tuple(
        row[name]
        for name in ("profiled_ns", "expected_samples", "samples", "cpu_ns", "cpu_percent", "profile_ids", "reason")
    )


def test_span_cpu_says_why_there_is_no_sample(store):
    send(
        store,
        span("0000000000000001", duration_s=2),
        span("0000000000000002", parent="0000000000000001", start_s=0.5, duration_s=0.003),
        span("0000000000000003", parent="0000000000000001", start_s=20, duration_s=1),
        span("0000000000000004", parent="0000000000000001", start_s=0.5, duration_s=0.5),
        span("0000000000000005", parent="0000000000000002", start_s=0.5, duration_s=0.5),
    )
    send(store, span("0000000000000006", parent="0000000000000002"), service="other")
    labels = {"trace_id": TRACE_ID}
    work = [
        Sample(frames_of("main.main"), (5, 5 * TICK_NS), labels | {"span_id": f"000000000000000{n}"}) for n in (1, 5)
    ]
    save(store, replace(cpu_profile({}), samples=tuple(work), time_ns=START_NS))
    reasons = {number: row["reason"] for number, row in span_cpu(store).items()}

    assert (None, None) == (reasons["1"], reasons["5"])
    assert "too short: 3.0 ms beside the profiler, one sample per 10.0 ms of CPU" == reasons["2"]
    assert "no CPU profile ran during this span" == reasons["3"]
    assert "waiting: on CPU in none of 50 possible samples" == reasons["4"]
    assert "no CPU profile of this service" == reasons["6"]


def test_span_cpu_knows_when_only_the_first_span_is_labelled_or_none_is(store):
    send(store, span("0000000000000001"), span("0000000000000002", parent="0000000000000001"))
    save(store, profiled({"main.main": 5}, "0000000000000001"))

    assert "the labels name only the first span in the process: 5 samples of GET /" == span_cpu(store)["2"]["reason"]

    send(store, span("0000000000000003", trace_id="ab" * 16), service="plain")
    save(store, replace(cpu_profile({"main.main": 5}), time_ns=START_NS), service="plain")
    row = store.row("SELECT reason FROM span_cpu($id)", {"id": "ab" * 16})

    assert "the samples of the profile carry no trace ids" == row["reason"]


def test_span_cpu_looks_at_the_profile_of_the_same_instance(store):
    send(store, span("0000000000000001"))
    save(store, profiled({"main.main": 5}, "00000000000000ff"), instance="checkout-2")
    other = save(store, profiled({"main.main": 7}, "0000000000000001"), instance="checkout-1")

    assert ([other], 7) == (span_cpu(store)["1"]["profile_ids"], span_cpu(store)["1"]["samples"])


# metrics


def test_windows_of_prometheus_may_overlap(store):
    labels = {"job": "checkout", "instance": "a"}
    points = [(START + timedelta(seconds=15 * n), float(n)) for n in range(4)]
    save_series(store, "http_requests_total", "", "checkout", [(labels, points[:3])])
    save_series(store, "http_requests_total", "", "checkout", [(labels, points[1:]), ({"job": "x"}, points[:1])])
    window = (START, START + timedelta(minutes=1))

    assert [(labels, points), ({"job": "x"}, points[:1])] == series_points(
        store, "http_requests_total", "checkout", *window
    )
    assert [] == series_points(store, "http_requests_total", "other", *window)
    assert {"prometheus"} == {row["source"] for row in store.rows("SELECT source FROM metrics")}


def test_exemplars_asked_twice_are_stored_once(store):
    labels = {"job": "shop/checkout", "route": "/buy"}
    exemplars = [Exemplar("latency_bucket", labels, TRACE_ID, "00f067aa0ba902b7", n / 10, START) for n in range(3)]
    save_exemplars(store, exemplars[:2])
    save_exemplars(store, exemplars)
    save_exemplars(store, [])
    rows = store.rows(
        "SELECT metric_name, service_name, attributes, time, value, trace_id, span_id FROM exemplars ORDER BY value"
    )

    assert [("latency_bucket", "checkout", labels, START, n / 10, TRACE_ID, "00f067aa0ba902b7") for n in range(3)] == [
        tuple(row.values()) for row in rows
    ]


def test_recorded_metrics_show_in_the_views(store):
    body = (RECORDED_OTLP / "cpu-metrics.bin").read_bytes()
    save_metrics(store, decode_metrics(body, PROTOBUF))

    assert not save_metrics(store, decode_metrics(body, PROTOBUF))
    row = store.row(
        "SELECT unit, service_name, service_instance_id, len(bucket_counts) - len(bounds) AS one_more, source "
        "FROM histograms WHERE name = 'http.server.request.duration' LIMIT 1"
    )
    assert ("s", "checkout", "127.0.0.1:19080", 1, "otlp") == tuple(row.values())
    assert 0 < store.row("SELECT count(*) AS n FROM exemplars JOIN histograms USING (series_id)")["n"]
    assert {"go.goroutine.count"} <= {row["name"] for row in store.rows("SELECT DISTINCT name FROM metrics")}


def test_heap_value_types_are_told_apart(shared):
    heap = tuple(ValueType(name, unit) for name, unit in (("inuse_objects", "count"), ("inuse_space", "bytes")))
    profile = Profile(heap, (Sample(frames_of("main.keep"), (3, 4096)),), period=524288)
    profile_id = save(shared, profile, basis="snapshot")

    assert [4096] == [row["flat"] for row in shared.rows("SELECT flat FROM top_functions($id)", {"id": profile_id})]
    assert [3] == [
        row["flat"] for row in shared.rows("SELECT flat FROM top_functions($id, 'inuse_objects')", {"id": profile_id})
    ]
