"""
Ingest end to end: requests over loopback to the real service, each answered after its commit.

    python -m bench.ingest                 all scenarios, about fifteen minutes
    python -m bench.ingest --quick         fewer requests, three minutes
    python -m bench.ingest --only spans    one of spans, metrics, write, busy, memory, long, overload

Prints its figures and writes bench/results/ingest.json; `python -m bench.ingest_page` makes the page out of that.
Client and service share the machine. CPU seconds per million are the service's own, the checkpoints included.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cramjam import snappy
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.environment import describe
from bench.service import MeasuredService
from bench.telemetry import metric_request, trace_request, write_request

RESULTS = Path("bench/results/ingest.json")
CONNECTIONS = 8
DECODERS = ("columns", "objects")
PROTOBUF = {"Content-Type": "application/x-protobuf"}
GZIP = PROTOBUF | {"Content-Encoding": "gzip"}
SNAPPY = PROTOBUF | {"Content-Encoding": "snappy"}


@dataclass(frozen=True)
class Load:
    """Requests of one kind: *count* items each, *requests* of them."""

    path: str
    make: Callable[[int, int], bytes]
    pack: Callable[[bytes], bytes]
    headers: dict[str, str]
    count: int
    requests: int

    def bodies(self) -> list[bytes]:
        return [self.pack(self.make(self.count, seed)) for seed in range(self.requests)]


def packed_gzip(body: bytes) -> bytes:
    return gzip.compress(body, 3)


def packed_snappy(body: bytes) -> bytes:
    return bytes(snappy.compress_raw(body))


def spans(count: int, total: int) -> Load:
    return Load("/v1/traces", trace_request, packed_gzip, GZIP, count, total // count)


def metrics(count: int, total: int) -> Load:
    return Load("/v1/metrics", metric_request, packed_gzip, GZIP, count, total // count)


def write(count: int, total: int) -> Load:
    return Load("/api/v1/write", write_request, packed_snappy, SNAPPY, count, total // count)


@dataclass
class Answers:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


def send_all(
    port: int, load: Load, bodies: Sequence[bytes], connections: int = CONNECTIONS, *, pause_s: float = 0.05
) -> Answers:
    """All bodies over so many connections; what is refused with 503, or cut off, goes again after *pause_s*."""
    answers, lock, left = Answers(), threading.Lock(), iter(bodies)

    def worker() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for body in _shared(left, lock):
            while True:
                began = time.perf_counter()
                status = _post(connection, load, body)
                with lock:
                    answers.statuses[status] += 1
                    answers.latencies_s.append(time.perf_counter() - began)
                if status not in (0, 503):
                    break
                time.sleep(pause_s)
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.elapsed_s = time.perf_counter() - began
    return answers


def _post(connection: http.client.HTTPConnection, load: Load, body: bytes) -> int:
    """The status; 0 when the service ended the connection, which it does to those it has no thread for."""
    try:
        connection.request("POST", load.path, body, load.headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return answer.status


def _shared(bodies: Iterator[bytes], lock: threading.Lock) -> Iterator[bytes]:
    while True:
        with lock:
            body = next(bodies, None)
        if body is None:
            return
        yield body


def measure(name: str, load: Load, bodies: Sequence[bytes], **service: Any) -> dict[str, Any]:
    """One row: throughput, latency and cost of *load* on a fresh service."""
    with MeasuredService(**service) as running:
        send_all(
            running.port, load, [load.pack(load.make(10, 10_000 + seed)) for seed in range(8)]
        )  # everything is loaded
        before = running.cpu_seconds()
        answers = send_all(running.port, load, bodies)
        cpu = running.cpu_seconds() - before
        peak = running.peak_rss_bytes
        running.stop()
        disk = running.disk_bytes()
    good = sum(count for status, count in answers.statuses.items() if status < 300)
    assert good == len(bodies), answers.statuses
    items = load.count * len(bodies)
    row = {
        "name": name,
        "a_request": load.count,
        "items": items,
        "per_s": round(items / answers.elapsed_s),
        "p50_ms": answers.percentile_ms(0.5),
        "p99_ms": answers.percentile_ms(0.99),
        "cpu_s_per_million": round(cpu / items * 1e6, 1),
        "bytes_each": round(disk / items),
        "peak_rss_mb": round(peak / 1e6),
        "busy_answers": answers.statuses[503],
    }
    print("  ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    return row


def both_decoders(name: str, load: Load, share: float = 1.0) -> list[dict[str, Any]]:
    """The same bodies through both decoders; the slow one gets a *share* of them."""
    bodies = load.bodies()
    rows = []
    for decoder in DECODERS:
        chosen = bodies if decoder == "columns" else bodies[: max(CONNECTIONS, int(len(bodies) * share))]
        rows.append(measure(f"{name}, {decoder}", load, chosen, ingest={"decoder": decoder}))
    return rows


def run_spans(scale: float) -> list[dict[str, Any]]:
    sizes = ((200, 100_000), (1000, 300_000), (8000, 400_000))
    return [row for count, total in sizes for row in both_decoders("spans", spans(count, int(total * scale)), 0.5)]


def run_metrics(scale: float) -> list[dict[str, Any]]:
    sizes = ((1000, 200_000), (8000, 240_000))
    return [row for count, total in sizes for row in both_decoders("points", metrics(count, int(total * scale)), 0.5)]


def run_write(scale: float) -> list[dict[str, Any]]:
    sizes = ((1000, 200_000), (8000, 240_000))
    return [row for count, total in sizes for row in both_decoders("samples", write(count, int(total * scale)), 0.5)]


def run_busy(scale: float) -> list[dict[str, Any]]:
    """What one thread that computes without end costs ingest, by switch interval."""
    load = spans(1000, int(100_000 * scale))
    bodies = load.bodies()
    rows = []
    for interval in ("0.005", "0.0005", "0.0001", "0.00002"):
        for busy in ("0", "1"):
            environment = {"BENCH_SWITCH_INTERVAL": interval, "BENCH_BUSY": busy}
            beside = "beside a busy thread" if busy == "1" else "alone"
            rows.append(
                measure(f"spans, {interval} s, {beside}", load, bodies, module="bench.busy", environment=environment)
            )
    return rows


def run_memory(scale: float) -> list[dict[str, Any]]:
    """Bodies of 2.5 MB from eight connections at once."""
    load = spans(4000, int(400_000 * scale))
    return [measure("spans, 2.5 MB bodies", load, load.bodies())]


def run_long(scale: float) -> list[dict[str, Any]]:
    """Twenty million spans in a row, in four quarters: memory stays."""
    load = spans(4000, 200_000)
    bodies = load.bodies()
    rounds = int(25 * scale)
    rows = []
    with MeasuredService() as running:
        for quarter in range(4):
            repeated = [again(body, quarter * rounds + number) for number in range(rounds) for body in bodies]
            before = running.cpu_seconds()
            answers = send_all(running.port, load, repeated)
            items = load.count * len(repeated)
            rows.append(
                {
                    "name": f"spans, {(quarter + 1) * items:,} so far",
                    "per_s": round(items / answers.elapsed_s),
                    "p99_ms": answers.percentile_ms(0.99),
                    "cpu_s_per_million": round((running.cpu_seconds() - before) / items * 1e6, 1),
                    "rss_mb": round(running.rss_bytes() / 1e6),
                    "peak_rss_mb": round(running.peak_rss_bytes / 1e6),
                }
            )
            print("  ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    return rows


def again(body: bytes, number: int) -> bytes:
    """The same spans as another request: a second gzip member adds resource spans without any."""
    marked = ExportTraceServiceRequest()
    marked.resource_spans.add(schema_url=f"again-{number}")
    return body + gzip.compress(marked.SerializeToString(), 1)


def run_overload(scale: float) -> list[dict[str, Any]]:
    """More connections than the service takes at once, each sending what was refused again at once: memory stays."""
    load = spans(1000, int(400_000 * scale))
    bodies = load.bodies()
    with MeasuredService(ingest={"queue_bytes": 8_388_608}) as running:
        answers = send_all(running.port, load, bodies, connections=48, pause_s=0.0)
        row = {
            "name": "spans, 48 connections that never slow down, queue of 8 MB",
            "requests": len(bodies),
            "stored": answers.statuses[200],
            "refused_503": answers.statuses[503],
            "cut_off": answers.statuses[0],
            "elapsed_s": round(answers.elapsed_s, 1),
            "peak_rss_mb": round(running.peak_rss_bytes / 1e6),
        }
    print("  ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    return [row]


SCENARIOS: dict[str, Callable[[float], list[dict[str, Any]]]] = {
    "spans": run_spans,
    "metrics": run_metrics,
    "write": run_write,
    "busy": run_busy,
    "memory": run_memory,
    "long": run_long,
    "overload": run_overload,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    chosen = parser.parse_args()
    environment = describe()
    print(json.dumps(environment))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in chosen.only or SCENARIOS:
        print(f"\n{name}")
        rows = SCENARIOS[name](0.2 if chosen.quick else 1.0)
        known[name] = {"environment": environment, "rows": rows}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
