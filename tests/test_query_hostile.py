"""Statements nobody should get anywhere with (hostile_sql.py), asked one after the other of real children."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diagnose.errors import QueryError
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, Question
from diagnose.store.db import Store
from diagnose.store.incidents import add_timeline
from diagnose.store.snapshots import Snapshot, Snapshots
from tests.hostile_sql import BOMBS, TABLE

SECRET = "canary-4711"
MEMORY_BYTES = 256 * 2**20
PATIENT = Limits(timeout_s=60.0, rows=100, memory_bytes=MEMORY_BYTES)
IMPATIENT = Limits(timeout_s=0.3, rows=100, memory_bytes=MEMORY_BYTES)


class Attack:
    """A store with something to lose, a secret file beside it, and how each statement ended."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.out.mkdir()
        self.secret = folder / "secret.csv"
        self.secret.write_text(SECRET)
        self.data = folder / "data"
        self.outcomes: dict[str, str] = {}
        self.leaks: list[str] = []
        self.before = self.after = b""

    def run(self) -> None:
        with Store.open(self.data) as store:
            add_timeline(store, "inc-1", "note", "untouched")
            snapshots, pool = Snapshots(store), WorkerPool(4, wait_s=120)
            with snapshots.newest() as snapshot, ThreadPoolExecutor(4) as threads:
                self.before = snapshot.file.read_bytes()
                list(threads.map(lambda sql: self._ask(pool, snapshot, sql), TABLE))
                self.after = snapshot.file.read_bytes()
                self.answers = [_rows(pool, snapshot, "SELECT text FROM timeline('inc-1')") for _ in range(4)]
            self.data_files = {file.name for file in self.data.rglob("*")}
            pool.close()
            snapshots.close()

    def _ask(self, pool: WorkerPool, snapshot: Snapshot, template: str) -> None:
        sql = template
        for name, path in (("{out}", self.out), ("{secret}", self.secret), ("{data}", self.data)):
            sql = sql.replace(name, str(path))
        try:
            with pool.worker(None) as worker:
                found = worker.ask(Question(sql), snapshot, IMPATIENT if template in BOMBS else PATIENT)
        except QueryError as err:
            self.outcomes[template] = err.code
            said = str(err)
        else:
            self.outcomes[template] = "answered"
            said = found.body.decode()
        if SECRET in said:
            self.leaks.append(template)


def _rows(pool: WorkerPool, snapshot: Snapshot, sql: str) -> object:
    with pool.worker(None) as worker:
        return worker.ask(Question(sql), snapshot, PATIENT).json["rows"]


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Attack:
    made = Attack(tmp_path_factory.mktemp("hostile"))
    made.run()
    return made


def test_the_table_is_long():
    assert len(TABLE) >= 120


@pytest.mark.parametrize("sql", TABLE, ids=[sql[:50].encode("ascii", "replace").decode() for sql in TABLE])
def test_it_is_refused_or_stopped(attack: Attack, sql: str):
    assert attack.outcomes[sql] in (*TABLE[sql], *(("timeout",) if sql in BOMBS else ()))


def test_nothing_outside_was_read(attack: Attack):
    assert [] == attack.leaks


def test_nothing_was_written(attack: Attack):
    assert [] == list(attack.out.iterdir())
    assert {"control.duckdb", "telemetry.duckdb"} <= attack.data_files
    assert not [name for name in attack.data_files if "tmp" in name or name in ("stolen.csv", "profile.json")]


def test_nothing_changed(attack: Attack):
    assert attack.before == attack.after
    assert [[["untouched"]]] * 4 == attack.answers
