"""
Engineers on call beside full ingest, and hostile readers beside them. `python -m bench.sql [--spans N] [--seconds S]`

A store of N spans over the last day with a recorded incident in it; then the service takes 20,000 spans/s while eight
users ask the saved queries, each twice a second, and alerts come in. The second part asks every saved query alone and
beside a guest with a token of his own who goes through tests/hostile_sql.py. Writes bench/results/sql.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.environment import describe
from bench.service import MeasuredService
from bench.telemetry import trace_request
from diagnose.query.saved import saved_queries
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.db import Store
from diagnose.store.segments import Segments
from diagnose.store.spans import SpanBatch, save_spans
from tests.hostile_sql import BOMBS, TABLE
from tests.recorded_night import load_night

RESULT = Path("bench/results/sql.json")
USERS, QUERIES_PER_S = 8, 2.0
SPANS_PER_S, BODY_SPANS = 20_000, 2_000
BATCH = 65_536
DAY_NS = 86_400_000_000_000
GUEST_PATIENCE_S = 2.0


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--spans", type=int, default=20_000_000)
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--times", type=int, default=5, help="every saved query alone, and at least beside the guest")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sql-") as folder:
        began = time.monotonic()
        fill(Path(folder) / "data", options.spans)
        print(f"{options.spans:,} spans stored in {time.monotonic() - began:.0f} s", flush=True)
        tokens = [_token(Path(folder), name, role) for name, role in _names()]
        settings = {"store": {"path": str(Path(folder) / "data")}, "auth": {"tokens": tokens}}
        with MeasuredService(**settings) as service:
            url = f"http://127.0.0.1:{service.port}"
            result = {"environment": describe(), "spans": options.spans}
            for part in (lambda: beside_ingest(url, options.seconds), lambda: beside_hostile(url, options.times)):
                result |= (found := part())
                print(json.dumps(found, indent=1), flush=True)
            result["service_rss_mib"] = service.rss_bytes() >> 20
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1))


def _names() -> Iterator[tuple[str, str]]:
    for number in range(USERS):
        yield f"user-{number}", "sql"
    yield "guest", "sql"
    yield "collector", "ingest"


def _token(folder: Path, name: str, role: str) -> dict[str, Any]:
    (folder / name).write_text(f"{name}-token")
    return {"name": name, "token_file": str(folder / name), "roles": [role]}


def session(name: str) -> requests.Session:
    opened = requests.Session()
    opened.trust_env = False
    opened.headers["Authorization"] = f"Bearer {name}-token"
    return opened


# --- the store ------------------------------------------------------------------------------------------------------


def fill(path: Path, spans: int) -> None:
    """The recorded incident, and *spans* spans that end now, in the order they would have come in."""
    base = decode_traces(trace_request(min(BATCH, spans), seed=1), PROTOBUF)
    batches = max(1, spans // base.spans.num_rows)
    end_ns = time.time_ns()
    with Store.open(path) as store:
        load_night(store, "cpu")
        segments = Segments(store)
        for number in range(batches):
            start_ns = end_ns - DAY_NS + number * (DAY_NS // batches)
            save_spans(store, _again(base, number, start_ns, DAY_NS // batches))
            if number % 3 == 2:
                segments.move()
        segments.move()
        while segments.merge():
            pass


def _again(base: SpanBatch, number: int, start_ns: int, lasts_ns: int) -> SpanBatch:
    """The same spans as other traces, spread over *lasts_ns* from *start_ns* on."""
    table = base.spans
    step_ns = max(1, lasts_ns // table.num_rows)
    at = pa.array([start_ns + place * step_ns for place in range(table.num_rows)], pa.int64())
    trace_ids = pc.binary_join_element_wise(f"{number:08x}", pc.utf8_slice_codeunits(table["trace_id"], 8), "")
    columns = {
        "trace_id": trace_ids,
        "start_time_unix_nano": at,
        "start_time": pc.divide(at, 1000).cast(table.schema.field("start_time").type),
    }
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return replace(base, spans=table, body_id=base.body_id + number + 1)


# --- engineers beside ingest ------------------------------------------------------------------------------------------


def beside_ingest(url: str, seconds: float) -> dict[str, Any]:
    stop = multiprocessing.Event()
    sent = multiprocessing.Value("q", 0)
    refused = multiprocessing.Value("q", 0)
    sender = multiprocessing.Process(target=send_spans, args=(url, stop, sent, refused))
    sender.start()
    answers: list[tuple[str, int, float]] = []
    webhooks: list[float] = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=ask_on, args=(url, f"user-{n}", n, until, answers)) for n in range(USERS)]
    threads.append(threading.Thread(target=send_alerts, args=(url, until, webhooks)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    sender.join()
    took = sorted(ms for _, _, ms in answers)
    found = {
        "seconds": seconds,
        "queries": len(answers),
        "failed": [(name, status) for name, status, _ in answers if status != 200],
        "query_p50_ms": _quantile(took, 50),
        "query_p95_ms": _quantile(took, 95),
        "query_max_ms": round(took[-1], 1),
        "slowest": _slowest(answers),
        "spans_per_s": round(sent.value / seconds),
        "bodies_refused": refused.value,
        "webhooks": len(webhooks),
        "webhook_p99_ms": _quantile(sorted(webhooks), 99),
    }
    return {"beside_ingest": found}


def ask_on(url: str, name: str, first: int, until: float, answers: list[tuple[str, int, float]]) -> None:
    """Twice a second by the clock; whoever is late does not wait."""
    client, names = session(name), list(saved_queries())
    number = first * len(names) // USERS
    due = time.monotonic() + first / USERS / QUERIES_PER_S
    while (now := time.monotonic()) < until:
        if now < due:
            time.sleep(due - now)
        due = max(due + 1 / QUERIES_PER_S, time.monotonic() - 1)
        saved = names[number % len(names)]
        status, ms = timed(client, url, saved=saved)
        answers.append((saved, status, ms))
        number += 1


def timed(client: requests.Session, url: str, *, patience_s: float = 60.0, **asked: Any) -> tuple[int, float]:
    """Status (0: hung up) and milliseconds of one question."""
    began = time.perf_counter()
    try:
        status = client.post(f"{url}/api/v1/sql", json=asked, timeout=patience_s).status_code
    except requests.RequestException:
        status = 0
    return status, (time.perf_counter() - began) * 1000


def send_spans(url: str, stop: Any, sent: Any, refused: Any) -> None:
    """SPANS_PER_S by the clock, in bodies of BODY_SPANS, with times of now."""
    client = session("collector")
    request = ExportTraceServiceRequest.FromString(trace_request(BODY_SPANS, seed=7))
    spans = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    due = time.monotonic()
    while not stop.is_set():
        shift = time.time_ns() - max(span.end_time_unix_nano for span in spans)
        for span in spans:
            span.start_time_unix_nano += shift
            span.end_time_unix_nano += shift
        kind = {"Content-Type": "application/x-protobuf"}
        answer = client.post(f"{url}/v1/traces", data=request.SerializeToString(), headers=kind, timeout=60)
        (sent if answer.status_code == 200 else refused).value += BODY_SPANS if answer.status_code == 200 else 1
        due = max(due + BODY_SPANS / SPANS_PER_S, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))


def send_alerts(url: str, until: float, took_ms: list[float]) -> None:
    """Five alerts a second that no rule captures for."""
    client, number = session("collector"), 0
    while time.monotonic() < until:
        labels = {"alertname": f"Bench{number}", "severity": "none"}
        alert = {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
        body = {"version": "4", "groupKey": str(number), "receiver": "b", "status": "firing", "alerts": [alert]}
        began = time.perf_counter()
        client.post(f"{url}/webhook", json=body, timeout=60).raise_for_status()
        took_ms.append((time.perf_counter() - began) * 1000)
        number += 1
        time.sleep(0.2)


# --- engineers beside a hostile guest ---------------------------------------------------------------------------------


def beside_hostile(url: str, times: int) -> dict[str, Any]:
    """Medians of every saved query alone and beside hostile statements, and how soon a killed worker is replaced."""
    alone = ask_all(url, times)
    with guest(url) as outcomes:
        beside = ask_all(url, times)
        while len(outcomes) < len(BOMBS) + len(TABLE):
            for name, took in ask_all(url, 1).items():
                beside[name] += took
    ratios = [statistics.median(beside[name]) / statistics.median(alone[name]) for name in alone]
    found = {
        "statements": len(outcomes),
        "outcomes": {status: outcomes.count(status) for status in sorted(set(outcomes))},
        "median_alone_ms": round(statistics.median(ms for each in alone.values() for ms in each), 1),
        "median_beside_ms": round(statistics.median(ms for each in beside.values() for ms in each), 1),
        "median_ratio": round(statistics.median(ratios), 2),
        "worker_back_ms": worker_back(url),
    }
    return {"beside_hostile": found}


def ask_all(url: str, times: int) -> dict[str, list[float]]:
    client = session("user-0")
    took: dict[str, list[float]] = {}
    for name in [*saved_queries()] * times:
        status, ms = timed(client, url, saved=name)
        assert status == 200, (name, status)
        took.setdefault(name, []).append(ms)
    return took


@contextmanager
def guest(url: str) -> Iterator[list[int]]:
    """Statuses of what the guest asked meanwhile; 0: he hung up."""
    over, outcomes = threading.Event(), list[int]()

    def attack() -> None:
        statements = [*BOMBS, *TABLE]
        while not over.is_set():
            text = statements[len(outcomes) % len(statements)]
            outcomes.append(timed(session("guest"), url, patience_s=GUEST_PATIENCE_S, sql=text)[0])

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        yield outcomes
    finally:
        over.set()
        attacker.join()


def worker_back(url: str) -> list[float]:
    """Milliseconds of `SELECT 1` right after a worker ran out of memory, and what it takes otherwise, last."""
    client = session("user-0")
    took = []
    for _ in range(5):
        timed(client, url, sql="SELECT repeat('x', 2000000000)")
        took.append(round(timed(client, url, sql="SELECT 1")[1], 1))
    return [*took, round(timed(client, url, sql="SELECT 1")[1], 1)]


def _quantile(ordered: list[float], percent: int) -> float:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)


def _slowest(answers: list[tuple[str, int, float]]) -> list[tuple[str, float]]:
    """The five saved queries with the highest medians."""
    by_name: dict[str, list[float]] = {}
    for name, _, ms in answers:
        by_name.setdefault(name, []).append(ms)
    medians = [(name, round(statistics.median(each), 1)) for name, each in by_name.items()]
    return sorted(medians, key=lambda each: -each[1])[:5]


if __name__ == "__main__":
    main()
