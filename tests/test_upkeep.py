"""What is put aside because the database breaks on it, and upkeep over HTTP and from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from diagnose.cli import main
from diagnose.errors import NotFound, StoreError, Unstorable
from diagnose.receive.otlp import PROTOBUF, decode_metrics, decode_traces
from diagnose.store.db import Store
from diagnose.store.metrics import save_metrics
from diagnose.store.spans import save_spans
from diagnose.store.spool import Spool
from tests.otlp import RECORDED
from tests.serving import Serving, serving

SPANS = decode_traces((RECORDED / "cpu-traces.bin").read_bytes(), PROTOBUF)
METRICS = decode_metrics((RECORDED / "cpu-metrics.bin").read_bytes(), PROTOBUF)
TABLES = ("spans", "metrics", "histograms", "exemplars")


def breaks(_cursor: duckdb.DuckDBPyConnection, _batches: Sequence[Any]) -> list[bool]:
    raise duckdb.FatalException("database has been invalidated because of a previous fatal error")


def contents(store: Store) -> dict[str, int]:
    return {view: store.row(f"SELECT count(*) AS n FROM {view}")["n"] for view in TABLES}  # noqa: S608  named above


def test_what_the_database_breaks_on_is_kept_and_stored_later(store, tmp_path):
    with Store.open(tmp_path / "other") as other:
        save_spans(other, SPANS)
        save_metrics(other, METRICS)
        expected = contents(other)
    spool = Spool(store)

    assert [False, False] == [store.telemetry.run_together(breaks, batch, wait_s=30) for batch in (SPANS, METRICS)]
    assert {"spans": 0, "metrics": 0, "histograms": 0, "exemplars": 0} == contents(store)
    spooled = spool.list()
    assert ["spans", "metrics"] == [each.name.split("-")[0] for each in spooled]
    assert all("has been invalidated" in each.reason for each in spooled)
    assert SPANS.spans.num_rows == spooled[0].rows

    for each in spooled:
        spool.replay(each.name)

    assert expected == contents(store)
    assert [] == spool.list()
    assert not save_spans(store, SPANS)  # it is known, as if it had been stored when it came


def test_what_is_spooled_twice_is_there_once(store):
    spool = Spool(store)
    for _ in range(2):
        store.telemetry.run_together(breaks, SPANS, wait_s=30)

    assert 1 == len(spool.list())


def test_only_telemetry_is_spooled(store):
    Spool(store)
    with pytest.raises(Unstorable):
        store.telemetry.run(lambda cursor: breaks(cursor, []), wait_s=30)


@pytest.mark.parametrize("name", ["spans-0000000000000000", "../control", "spans-..%2f"])
def test_what_is_not_there_cannot_be_replayed(store, name):
    with pytest.raises(NotFound):
        Spool(store).replay(name)


def test_a_damaged_file_is_named(store):
    folder = store.path / "spool"
    folder.mkdir()
    (folder / "spans-0000000000000001.zip").write_bytes(b"PK torn")
    with pytest.raises(StoreError, match=r"spans-0000000000000001.zip is damaged"):
        Spool(store).list()


def ask(web: Serving, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--server", web.url, *arguments])


def test_the_spool_and_retention_from_the_command_line(store):
    with serving(store) as web:
        store.telemetry.run_together(breaks, SPANS, wait_s=30)
        [entry] = json.loads(ask(web, "spool", "list", "--json").stdout)["spooled"]
        assert entry["name"] in ask(web, "spool", "list").stdout

        assert 2 == ask(web, "spool", "replay").exit_code
        assert 1 == ask(web, "spool", "replay", "spans-0000000000000000").exit_code
        replayed = ask(web, "spool", "replay", "--all")
        assert (0, f"{entry['name']} stored\n") == (replayed.exit_code, replayed.stdout)
        assert SPANS.spans.num_rows == contents(store)["spans"]

        removed = json.loads(ask(web, "retention", "run", "--json").stdout)
        assert {"files", "pinned_rows", "profiles", "incidents", "bytes"} == set(removed)
        assert ask(web, "retention", "run").stdout.startswith("0 files, 0 profiles and 0 incidents removed")
