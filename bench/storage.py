"""
What is stored takes how much space, and how long do the usual questions take?

    python -m bench.storage [--spans 20000000] [--minutes 20] [--folder DIR] [--questions-only]

First the spans of bench/telemetry.py, decoded and stored as they are when they are sent: bytes a span in the live table
and in segments, CPU seconds of moving and merging a million. Then a day of so many spans (the same ones with other ids
and times, of 20 services, four of which meet in every trace), in a file an hour, and questions to it. It stops filling
after so many minutes. Writes bench/results/storage.json. A folder that was filled once can be asked again.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from bench.environment import describe
from bench.telemetry import trace_request
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.db import Store
from diagnose.store.manifest import TABLES
from diagnose.store.queries import load_queries
from diagnose.store.segments import SORTED_ROWS, Segments, _write
from diagnose.store.snapshots import Snapshots
from diagnose.store.spans import save_spans, trace_spans

RESULTS = Path(__file__).parent / "results" / "storage.json"
QUERIES = load_queries("storage", Path(__file__).parent)
TEMPLATE_REQUESTS, TEMPLATE_SPANS = 100, 2000
DAY = datetime(2026, 11, 24, tzinfo=UTC)
REPEATS = 15


@click.command()
@click.option("--spans", type=int, default=20_000_000, show_default=True)
@click.option("--minutes", type=float, default=20.0, show_default=True, help="Most time to fill the store.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Default: a temporary one.")
@click.option("--questions-only", is_flag=True, help="To the store that is in --folder already.")
def main(spans: int, minutes: float, folder: Path | None, questions_only: bool) -> None:
    """Measure and print."""
    result: dict[str, Any] = json.loads(RESULTS.read_text()) if questions_only else {}
    result["environment"] = describe()
    with tempfile.TemporaryDirectory() as temporary:
        path = folder or Path(temporary)
        if not questions_only:
            result["sizes"] = sizes(path / "sizes")
            show(result["sizes"])
        with Store.open(path / "day") as store:
            segments = Segments(store)
            if not questions_only:
                result["day"] = fill(store, segments, spans, minutes)
                show(result["day"])
            result["questions_ms"] = questions(store)
            show(result["questions_ms"])
            result["snapshot_ms"] = snapshots(store, segments)
            show(result["snapshot_ms"])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


def show(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        print(f"{name:45} {value}", flush=True)


def sizes(path: Path) -> dict[str, float]:
    """Bytes a span live and sealed, and CPU seconds a million of what becomes of them after the commit."""
    with Store.open(path) as store:
        segments, count = Segments(store), TEMPLATE_REQUESTS * TEMPLATE_SPANS
        empty = (path / "telemetry.duckdb").stat().st_size
        for seed in range(TEMPLATE_REQUESTS):
            save_spans(store, decode_traces(trace_request(TEMPLATE_SPANS, seed), PROTOBUF))
        store.cursor().execute("CHECKPOINT telemetry")
        live = ((path / "telemetry.duckdb").stat().st_size - empty) / count
        move_s = cpu_s(segments.move)
        moved = segments.all()[0].bytes / count
        group = segments.all()
        merge_s = cpu_s(lambda: segments.replace(group))
        merged = segments.all()[0].bytes / count
    return {
        "spans": count,
        "live_bytes_a_span": round(live, 1),
        "moved_bytes_a_span": round(moved, 1),
        "merged_bytes_a_span": round(merged, 1),
        "move_cpu_s_a_million": round(move_s * 1e6 / count, 2),
        "merge_cpu_s_a_million": round(merge_s * 1e6 / count, 2),
    }


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def fill(store: Store, segments: Segments, spans: int, minutes: float) -> dict[str, Any]:
    """A day in 24 files, oldest first, each as six moves and a merge leave it: written at once, for speed."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template.parquet"
        write_template(store, template)
        until_s, stored, began_cpu_s = time.monotonic() + 60 * minutes, 0, time.process_time()
        rows = spans // 24
        for hour in range(24):
            store_hour(store, segments, template, DAY + timedelta(hours=hour), rows)
            stored += rows
            print(f"{stored} spans", flush=True)
            if time.monotonic() > until_s:
                break
        took_cpu_s = time.process_time() - began_cpu_s
    store.cursor().execute("CHECKPOINT telemetry")
    of_spans = [each for each in segments.all() if each.table == "span"]
    return {
        "spans": stored,
        "files": len(of_spans),
        "sealed_bytes_a_span": round(sum(each.bytes for each in of_spans) / stored, 1),
        "database_bytes_a_span": round((store.path / "telemetry.duckdb").stat().st_size / stored, 1),
        "fill_cpu_s_a_million": round(took_cpu_s * 1e6 / stored, 1),
    }


def write_template(store: Store, file: Path) -> None:
    """The spans of the generator as segments have them."""
    for seed in range(TEMPLATE_REQUESTS):
        save_spans(store, decode_traces(trace_request(TEMPLATE_SPANS, seed), PROTOBUF))
    cursor = store.cursor()
    cursor.execute(f"COPY (SELECT * FROM span) TO '{file}' (FORMAT parquet)")  # noqa: S608  our own file
    cursor.execute("DELETE FROM telemetry.live_span")
    cursor.close()


def store_hour(store: Store, segments: Segments, template: Path, at: datetime, rows: int) -> None:
    """What `Segments.move` does, but for the way through the live table."""
    table = TABLES[0]
    name = segments._new_name(table, at)
    cursor = store.cursor()
    order = table.order if rows <= SORTED_ROWS else f"time_bucket(INTERVAL 10 MINUTE, start_time), {table.order}"
    asked = {"template": str(template), "salt": str(at.hour), "at": at, "row_count": rows}
    cursor.execute(QUERIES["an_hour"], asked)
    _write(
        cursor,
        table,
        "SELECT * FROM an_hour ORDER BY " + order,  # noqa: S608  our own
        segments.folder / name,
    )
    with segments._change() as change:
        change.cursor.execute(QUERIES["remember"], {"file": str(segments.folder / name), "now": at})
        change.add(table, name, at, at + timedelta(minutes=59), pinned=False)
    cursor.close()


def questions(store: Store) -> dict[str, Any]:
    """Median and least milliseconds, and those of CPU time, of REPEATS runs after one that warms up."""
    last = store.row("SELECT max(start_time) AS at FROM spans")["at"]
    middle = DAY + (last - DAY) / 2
    around = {"since": middle, "until": middle + timedelta(minutes=15)}
    some = store.row(QUERIES["some_span"], around)
    rows_a_second = store.row("SELECT count(*) AS n FROM spans")["n"] / (last - DAY).total_seconds()
    million = {"since": middle, "until": middle + timedelta(seconds=1e6 / rows_a_second)}
    rare = million | {"service": some["service_name"], "user": some["user"]}
    of_service = around | {"service": some["service_name"]}
    ids = iter([row["trace_id"] for row in store.rows(QUERIES["some_traces"], around | {"count": REPEATS + 1})])
    absent = "ab" * 16
    return {
        "spans_in_million": store.row(QUERIES["count"], million)["n"],
        "trace_by_id": timed(lambda: trace_spans(store, next(ids))),
        "trace_by_id_again": timed(lambda: trace_spans(store, some["trace_id"])),
        "trace_by_id_rows_only": timed(lambda: store.rows(QUERIES["rows_of_trace"], around | {"id": some["trace_id"]})),
        "trace_by_id_without_time": timed(lambda: store.rows(QUERIES["trace"], {"id": some["trace_id"]})),
        "absent_trace": timed(lambda: trace_spans(store, absent)),
        "service_and_rare_attribute_in_a_million": timed(lambda: store.rows(QUERIES["rare"], rare)),
        "p99_of_a_service_in_15_minutes": timed(lambda: store.rows(QUERIES["p99"], of_service)),
        "p99_of_every_service_in_a_day": timed(lambda: store.rows(QUERIES["p99_of_all"]), 3),
        "stored_then_found_by_id_and_search": timed(lambda: found_at_once(store), 5),
    }


def found_at_once(store: Store) -> None:
    """A request is stored and its first span looked up by id and by service and time."""
    seed = time.monotonic_ns() % 1_000_000
    batch = decode_traces(trace_request(8, seed), PROTOBUF)
    save_spans(store, batch)
    first = {name: batch.spans[name][0].as_py() for name in ("trace_id", "service_name", "start_time")}
    assert trace_spans(store, first["trace_id"])
    assert store.rows(QUERIES["search"], first)


def timed(work: Callable[[], object], repeats: int = REPEATS) -> dict[str, float]:
    work()
    took_ms, began_cpu_s = [], time.process_time()
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took_ms.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - began_cpu_s) * 1000 / repeats
    return {"median": round(statistics.median(took_ms), 1), "least": round(min(took_ms), 1), "cpu": round(cpu_ms, 1)}


def snapshots(store: Store, segments: Segments) -> dict[str, float]:
    """The first one, one after new spans with what is written for it, and one when nothing changed."""
    taken = Snapshots(store, segments)
    figures = {}
    for name in ("first", "after 2,000 more spans", "nothing new"):
        if name.startswith("after"):
            save_spans(store, decode_traces(trace_request(TEMPLATE_SPANS, 999_999), PROTOBUF))
        began = time.perf_counter()
        with taken.newest(fresh=True):
            figures[name] = round((time.perf_counter() - began) * 1000, 1)
    taken.close()
    return figures


if __name__ == "__main__":
    main()
