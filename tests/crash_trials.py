"""
A process that commits, moves, merges, prunes or migrates is killed at a random moment; what is there then is checked.

Processes come from a fork server that has everything imported already, so a trial takes half a second. The full counts
are in bench/storage_crash.py.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from diagnose.config import Retention as RetentionSettings
from diagnose.model import TraceRef
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.db import Store, migrations
from diagnose.store.incidents import save_traces
from diagnose.store.retention import Retention
from diagnose.store.segments import Segments
from diagnose.store.spans import save_spans
from tests.otlp import span, traces

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.crash_trials"])
FIRST_ROWS = Path(__file__).parent / "data" / "store"
STEPS = ("commit", "move", "merge", "retention")
MOST_SPANS = 8  # before the kill
STEP_S = 0.1  # about what a step takes
LATER = timedelta(days=10)


def work(path: Path, step: str, first: int, told: Connection) -> None:
    """Runs until it is killed; tells the number of each span once it is durable, before the first 0."""
    store = Store.open(path)
    segments = Segments(store)
    pin_everything(store)
    keeper = Retention(store, segments, RetentionSettings(), min_free_bytes=0)
    told.send(0)
    for number in range(first, first + 100_000):
        body = traces(span(f"{number:016x}"))
        save_spans(store, decode_traces(body, PROTOBUF))
        told.send(number)
        if step != "commit" and number % 2:
            segments.move()
        if step == "merge" and number % 4 == 3:
            segments.merge(datetime.now(UTC) + LATER)
        if step == "retention" and number % 4 == 3:
            keeper.run(datetime.now(UTC) + LATER)


def kill_while(path: Path, step: str, chance: random.Random, known: set[int]) -> tuple[set[int], float]:
    """
    One trial on the store in *path*, which has the spans *known*: those it has now, and the seconds that opening took.

    Fails when one is lost.
    """
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=work, args=(path, step, max(known, default=0) + 1, sender), daemon=True)
    process.start()
    sender.close()
    told = [receiver.recv() for _ in range(chance.randint(1, MOST_SPANS))]
    time.sleep(chance.uniform(0, STEP_S))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended by itself"
    acknowledged = known | {number for number in (*told, *_all(receiver)) if number}
    began_s = time.monotonic()
    with Store.open(path) as store:
        took_s = time.monotonic() - began_s
        return check(store, acknowledged), took_s


def _all(receiver: Connection) -> list[int]:
    """What was told before the end."""
    told = []
    try:
        while True:
            told.append(receiver.recv())
    except (EOFError, OSError):
        return told


def pin_everything(store: Store) -> None:
    """An incident names the trace of all spans, so retention keeps them all, in files of its own."""
    trace_id = decode_traces(traces(span(f"{1:016x}")), PROTOBUF).spans["trace_id"][0].as_py()
    reference = TraceRef(trace_id, "label", 1.0)
    save_traces(store, "inc-1", [reference])


def check(store: Store, acknowledged: set[int]) -> set[int]:
    """All that was acknowledged is there once, and at most one more; no file is too much or missing. What is there."""
    segments = Segments(store)
    found = [row["n"] for row in store.rows("SELECT ('0x' || span_id)::BIGINT AS n FROM spans")]
    assert len(found) == len(set(found)), "a span is there twice"
    assert acknowledged <= set(found), "a span is lost"
    assert len(found) <= len(acknowledged) + 1
    on_disk = {str(file.relative_to(segments.folder)) for file in segments.folder.rglob("*.parquet")}
    assert on_disk == {each.file for each in segments.all()}
    return set(found)


# --- migrations -------------------------------------------------------------------------------------------------------


def old_store(path: Path, versions: dict[str, int]) -> None:
    """The files as earlier versions of the schema left them; from version 1 on with rows of each kind."""
    path.mkdir(parents=True)
    for name, version in versions.items():
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{path / name}.duckdb' AS {name} (STORAGE_VERSION 'v1.5.0')")
            connection.execute(f"USE {name}")
            connection.execute(
                "CREATE TABLE schema_version (version INTEGER NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
            )
            for number, script in enumerate(migrations(name)[:version], start=1):
                connection.execute(script)
                connection.execute("INSERT INTO schema_version VALUES (?, now())", [number])
                if number == 1:
                    connection.execute((FIRST_ROWS / f"first_{name}.sql").read_text())


def check_migrated(store: Store) -> None:
    """The rows of `old_store` as the views of today show them."""
    for name in ("control", "telemetry"):
        version = store.row(f"SELECT max(version) AS v, count(*) AS n FROM {name}.schema_version")  # noqa: S608
        assert {"v": len(migrations(name)), "n": len(migrations(name))} == version
    spans = store.row(
        "SELECT count(*) AS n, sum(attributes['k']::INTEGER) AS k, min(events[1].attributes['a']) AS e FROM spans"
    )
    assert {"n": 1000, "k": 500_500, "e": "b"} == spans
    assert 1.5 == store.row("SELECT value FROM metrics WHERE name = 'm'")["value"]
    assert "ab" == store.row("SELECT trace_id FROM exemplars")["trace_id"]
    assert "checkout" == store.row("SELECT service_name FROM incidents")["service_name"]
    weights = store.rows("SELECT * FROM weight ORDER BY weight_no")
    assert [(448, 1, 5, 5.0), (449, 1, 50, 5.0)] == [tuple(row.values()) for row in weights]


def migrate(path: Path, told: Connection) -> None:
    told.send(0)
    Store.open(path).close()


def kill_while_migrating(path: Path, versions: dict[str, int], chance: random.Random) -> float:
    """One trial on a new store in *path*; the seconds that opening took then, what was left to migrate included."""
    old_store(path, versions)
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=migrate, args=(path, sender), daemon=True)
    process.start()
    sender.close()  # so that a process that dies before it says so is noticed
    assert receiver.recv() == 0
    time.sleep(chance.uniform(0, STEP_S))
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    began_s = time.monotonic()
    with Store.open(path) as store:
        took_s = time.monotonic() - began_s
        check_migrated(store)
    return took_s


def all_versions() -> list[dict[str, Any]]:
    """Every earlier version of either file beside the newest of the other."""
    newest = {name: len(migrations(name)) for name in ("control", "telemetry")}
    return [newest | {name: version} for name in newest for version in range(1, newest[name])]
