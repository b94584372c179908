"""
Profiles beside `go tool pprof`, in one run on the same files: import, queries, exactness, damaged files.

    .venv/bin/python -m bench.profiles [--part files|big|series|hostile …] [--profile FILE.pb.gz]

    files    a real CPU profile: flame query and import against `go tool pprof -proto`
    big      50,000 and 200,000 samples: import, memory of the child, flat and cum equal to `go tool pprof -top`
    series   500 profiles of 2,000 labelled rows over HTTP: import with 4 connections, merge, diff, one trace, disk
    hostile  gzip bombs and 6,000 damaged files: refused or read right, nothing crashes or hangs
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import random
import re
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import duckdb

from bench.environment import describe
from bench.profile_corpus import BOMBS, TICK_NS, mutated, series, synthetic
from bench.service import MeasuredService
from diagnose.errors import DecodeError
from diagnose.pprof.codec import decode
from diagnose.pprof.pool import ParserPool
from diagnose.store.db import Store
from diagnose.store.profiles import import_profile
from diagnose.store.segments import Segments

RESULTS = Path(__file__).parent / "results"
RECORDED = Path(__file__).parent.parent / "tests" / "data" / "pprof"
EVERYTHING = ("-symbolize=none", "-nodecount=0", "-nodefraction=0", "-edgefraction=0", "-sample_index=cpu")
CALLS = 40
_ROW = re.compile(r"^\s*(-?\d+)\S*\s+\S+%\s+\S+%\s+(-?\d+)\S*\s+\S+%\s+(.+?)(?: \((?:partial-)?inline\))?$")


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best(work: Callable[[], Any], times: int = 5) -> float:
    return min(seconds(work) for _ in range(times))


def go_pprof(report: str, file: Path, *flags: str) -> str:
    command = ["go", "tool", "pprof", report, *flags, str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Client:
    """One connection to the service."""

    def __init__(self, service: MeasuredService) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=600)

    def post(self, body: bytes, query: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("POST", f"/api/v1/profiles?{query}", body))
        return found

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fetch(path))
        return found

    def fetch(self, path: str) -> bytes:
        """The answer as it came."""
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        try:
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
        except http.client.RemoteDisconnected:  # it was idle for too long
            self._connection.close()
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
        return text


def files(given: Path | None) -> dict[str, Any]:
    """A real CPU profile. Every import is of another instance, so that none is a duplicate."""
    file = given or max(RECORDED.glob("cpu*profile.pb.gz"), key=lambda each: each.stat().st_size)
    body = file.read_bytes()
    with MeasuredService() as service, tempfile.TemporaryDirectory() as folder:
        client = Client(service)
        numbers = iter(range(1000))
        client.post(body, f"service=real&instance={next(numbers)}")  # starts the child
        output = Path(folder) / "out.pb.gz"
        proto_s = best(lambda: go_pprof("-proto", file, "-symbolize=none", f"-output={output}"), 10)
        stored = client.post(body, f"service=real&instance={next(numbers)}")
        flame_s = best(lambda: client.get(f"/api/v1/flamegraph?profile={stored['id']}"), 10)
        import_s = best(lambda: client.post(body, f"service=real&instance={next(numbers)}"), 10)
    return {
        "file": file.name,
        "samples": len(decode(body).samples),
        "go_tool_pprof_proto_ms": ms(proto_s),
        "flame_over_http_ms": ms(flame_s),
        "import_over_http_ms": ms(import_s),
        "flame_of_proto": round(flame_s / proto_s, 2),
        "import_of_proto": round(import_s / proto_s, 2),
    }


def big() -> dict[str, Any]:
    found = {}
    for samples, labelled in ((50_000, True), (200_000, False)):
        found[f"{samples}"] = _big(synthetic(samples, labelled=labelled))
    return found


def _big(body: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, ParserPool(1) as pool, Store.open(Path(folder) / "data") as store:
        file = Path(folder) / "big.pb.gz"
        file.write_bytes(body)
        small = (RECORDED / "cpu-profile.pb.gz").read_bytes()  # so that everything is loaded
        import_profile(store, pool.parse(small), small, service="warm", instance="", kind=None, labels={})
        began = time.perf_counter()
        parsed = pool.parse(body)
        parsed_s = time.perf_counter() - began
        stored = import_profile(store, parsed, body, service="big", instance="", kind=None, labels={})
        import_s = time.perf_counter() - began
        peak = pool.peak_rss_bytes
        output = Path(folder) / "out.pb.gz"
        proto_s = seconds(lambda: go_pprof("-proto", file, "-symbolize=none", f"-output={output}"))
        asked = {"id": stored.profile_id}
        flame_s = best(lambda: store.rows("SELECT count(*) FROM flamegraph($id)", asked), 3)
        top = {
            row["function"]: (row["flat"], row["cum"])
            for row in store.rows("SELECT function, flat, cum FROM top_functions($id)", asked)
        }
        expected = _go_top(file)
        if top != expected:
            raise AssertionError("flat and cum differ from go tool pprof -top")
    return {
        "import_s": round(import_s, 2),
        "of_which_in_the_child_s": round(parsed_s, 2),
        "child_peak_rss_mb": round(peak / 2**20),
        "go_tool_pprof_proto_s": round(proto_s, 2),
        "flame_sql_ms": ms(flame_s),
        "functions_equal_to_go_tool_pprof_top": len(expected),
    }


def _go_top(file: Path) -> dict[str, tuple[int, int]]:
    rows = map(_ROW.match, go_pprof("-top", file, *EVERYTHING, "-unit=nanoseconds").splitlines())
    return {row[3]: (int(row[1]), int(row[2])) for row in rows if row}


def merged_series(profiles: int, rows: int, connections: int) -> dict[str, Any]:
    corpus = list(series(profiles, rows=rows))
    total_ns = sum(total for _, total in corpus) * TICK_NS
    with MeasuredService() as service:
        client = Client(service)
        _start_children(service, connections)
        imported = _import_all(service, [body for body, _ in corpus], connections)
        everything = "service=checkout&kind=cpu"
        halves = "base_service=checkout&base_label.half=0&service=checkout&label.half=1"
        merge = client.get(f"/api/v1/flamegraph?{everything}")
        diff = client.get(f"/api/v1/diff?{halves}")
        if merge["total"] != total_ns or diff["total"] + diff["base_total"] != total_ns:
            raise AssertionError(f"totals differ: {total_ns} sent, {merge['total']} merged")
        sample = decode(corpus[len(corpus) // 2][0]).samples
        trace = next(each.labels["trace_id"] for each in sample if "trace_id" in each.labels)
        in_trace = sum(each.values[1] for each in sample if each.labels.get("trace_id") == trace)
        one_trace = f"/api/v1/flamegraph?{everything}&trace_id={trace}"
        if client.get(one_trace)["total"] != in_trace:
            raise AssertionError("the trace has another total")
        first = client.get("/api/v1/profiles?service=checkout&limit=1")["profiles"][0]["profile_id"]
        asked = {
            "merge_ms": f"/api/v1/flamegraph?{everything}",
            "merged_top_ms": f"/api/v1/top?{everything}",
            "diff_ms": f"/api/v1/diff?{halves}",
            "diff_as_flame_graph_ms": f"/api/v1/flamegraph?{halves}",
            "one_trace_ms": one_trace,
            "one_profile_ms": f"/api/v1/flamegraph?profile={quote(first)}",
        }
        timings = {name: _percentiles(service, client, path) for name, path in asked.items()}
        rss = service.peak_rss_bytes
        service.stop()
        disk, free = _disk(service.folder / "data")
    return {
        "profiles": profiles,
        "rows_each": rows,
        "connections": connections,
        **imported,
        "kib_on_disk_each_without_files": round(disk / profiles / 1024, 1),
        "mib_free_in_the_database": round(free / 2**20, 1),
        "kib_of_a_file": round(sum(len(body) for body, _ in corpus) / profiles / 1024, 1),
        "service_peak_rss_mb": round(rss / 2**20),
        **timings,
        "totals": "exact",
    }


def _start_children(service: MeasuredService, connections: int) -> None:
    """The processes that read profiles start when they are needed, which takes a third of a second."""
    small = (RECORDED / "cpu-profile.pb.gz").read_bytes()
    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(lambda _: Client(service).post(small, "service=warm"), range(connections)))


def _import_all(service: MeasuredService, bodies: Sequence[bytes], connections: int) -> dict[str, Any]:
    waiting: queue.Queue[tuple[int, bytes]] = queue.Queue()
    for numbered in enumerate(bodies):
        waiting.put(numbered)
    took: list[float] = []

    def send() -> None:
        client = Client(service)
        while True:
            try:
                number, body = waiting.get_nowait()
            except queue.Empty:
                return
            query = f"service=checkout&instance=checkout-{number % 4}&kind=cpu&label.half={number % 2}"
            took.append(seconds(lambda: client.post(body, query)))  # noqa: B023  called at once

    threads = [threading.Thread(target=send) for _ in range(connections)]
    cpu_before = service.cpu_seconds()
    elapsed = seconds(lambda: [[each.start() for each in threads], [each.join() for each in threads]])
    if len(took) != len(bodies):
        raise AssertionError("some imports failed")
    return {
        "imported_per_s": round(len(bodies) / elapsed, 1),
        "import_p50_ms": ms(median(took)),
        "import_max_ms": ms(max(took)),
        "service_cpu_ms_each": ms((service.cpu_seconds() - cpu_before) / len(bodies)),
    }


def _percentiles(service: MeasuredService, client: Client, path: str) -> dict[str, float]:
    """
    Until all of the answer is there, by the clock; `cpu` is what the service computed for one answer, on both
    processors together.
    """
    cpu_before = service.cpu_seconds()
    took = sorted(seconds(lambda: client.fetch(path)) for _ in range(CALLS))
    cpu = (service.cpu_seconds() - cpu_before) / CALLS
    return {
        "p50": ms(took[len(took) // 2]),
        "p95": ms(took[int(len(took) * 0.95)]),
        "best": ms(took[0]),
        "cpu": ms(cpu),
    }


def _disk(data: Path) -> tuple[int, int]:
    """
    Bytes of everything that is kept of the profiles, less the files as they came; and bytes in the database file that
    are free: what a checkpoint wrote anew leaves its old place to the rows that come next. All samples have moved into
    files, which they do within a minute; files that were merged into others stay for another and are not counted.
    """
    with Store.open(data) as store:
        Segments(store).move()
    databases = sum(file.stat().st_size for file in data.glob("*.duckdb*"))
    with duckdb.connect(str(data / "telemetry.duckdb"), read_only=True) as connection:
        [(segments,)] = connection.execute("SELECT coalesce(sum(bytes), 0) FROM segment").fetchall()
        [(free,)] = connection.execute("SELECT block_size * free_blocks FROM pragma_database_size()").fetchall()
    return databases + int(segments) - int(free), int(free)


def hostile(count: int) -> dict[str, Any]:
    chance = random.Random(3)  # noqa: S311  the same every time is the point
    sources = [file.read_bytes() for file in sorted(RECORDED.glob("*.pb.gz"))]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with ParserPool(2) as pool:
        bombs = {name: _refusal(pool, bomb()) for name, bomb in BOMBS.items()}
        after_bombs = pool.peak_rss_bytes
        for _ in range(count):
            body = mutated(chance.choice(sources), chance)
            began = time.perf_counter()
            outcomes[_outcome(pool, body)] += 1
            slowest = max(slowest, time.perf_counter() - began)
    return {
        "bombs": bombs,
        "child_peak_rss_mb": round(after_bombs / 2**20),
        "damaged_files": count,
        **outcomes,
        "slowest_s": round(slowest, 2),
    }


def _refusal(pool: ParserPool, body: bytes) -> str:
    began = time.perf_counter()
    try:
        pool.parse(body)
    except DecodeError as err:
        return f"{err} ({time.perf_counter() - began:.1f} s, {len(body) / 1024:.0f} KiB)"
    raise AssertionError("a bomb was read")


def _outcome(pool: ParserPool, body: bytes) -> str:
    """Of what was read, whether the other reader, which makes an object of every sample, finds the same totals."""
    try:
        parsed = pool.parse(body)
    except DecodeError as err:
        return "child_died" if "could not be read" in str(err) else "refused"
    try:
        profile = decode(body)
    except DecodeError:
        return "read_where_the_other_reader_refuses"
    totals = (sum(sample.values[at] for sample in profile.samples) for at in range(len(profile.sample_types)))
    wrapped = tuple((total + 2**63) % 2**64 - 2**63 for total in totals)
    if wrapped != parsed.totals:
        raise AssertionError("two readers find different totals")
    return "read_alike"


def ms(value_s: float) -> float:
    return round(value_s * 1000, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=["files", "big", "series", "hostile"])
    parser.add_argument("--profile", type=Path, help="a real CPU profile")
    parser.add_argument("--profiles", type=int, default=500)
    parser.add_argument("--damaged", type=int, default=6000)
    asked = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "files": lambda: files(asked.profile),
        "big": big,
        "series": lambda: merged_series(asked.profiles, 2000, 4),
        "hostile": lambda: hostile(asked.damaged),
    }
    result: dict[str, Any] = {"environment": describe(), "go": go_version()}
    for name in asked.part or parts:
        result[name] = parts[name]()
        print(json.dumps({name: result[name]}, indent=2), flush=True)
    print(json.dumps(result["environment"], indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profiles.json").write_text(json.dumps(result, indent=2) + "\n")


def go_version() -> str:
    return subprocess.run(["go", "version"], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
