from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnose.config import Settings, SqlSettings
from diagnose.query.pool import WorkerPool
from diagnose.store.db import Store
from tests.builders import webhook, webhook_alert
from tests.serving import Serving, serving
from tests.waiting import wait_until

SLOW = "SELECT count(*) FROM range(100000000000) a(a) WHERE hash(a) % 7 = 3"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    settings = Settings(sql=SqlSettings(workers=1, rows=50, timeout="2s"))
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store, settings) as running:
        running.post("/webhook", webhook())
        yield running


def test_the_answer_has_the_documented_shape(web):
    asked = {"sql": "SELECT alertname, status FROM alerts WHERE alertname = $name", "params": {"name": "HighLatency"}}
    answer = web.post("/api/v1/sql", asked)

    assert 200 == answer.status
    assert ["columns", "rows", "row_count", "truncated", "elapsed_ms", "as_of"] == list(answer.json)
    assert {"name": "alertname", "type": "VARCHAR"} == answer.json["columns"][0]
    assert ([["HighLatency", "firing"]], 1, False) == tuple(answer.json[k] for k in ("rows", "row_count", "truncated"))
    assert answer.json["as_of"].endswith("Z")


@pytest.mark.parametrize(
    ("form", "content_type", "read"),
    [
        ("csv", "text/csv", lambda body: body.decode().splitlines()[1:] == ["1"]),
        (
            "arrow",
            "application/vnd.apache.arrow.stream",
            lambda body: pa.ipc.open_stream(body).read_all().num_rows == 1,
        ),
        ("parquet", "application/vnd.apache.parquet", lambda body: pq.read_table(io.BytesIO(body)).num_rows == 1),
    ],
)
def test_other_formats(web, form, content_type, read):
    answer = web.post("/api/v1/sql", {"sql": "SELECT 1 AS a", "format": form})

    assert (200, content_type) == (answer.status, answer.headers.get_content_type())
    assert read(answer.body)


@pytest.mark.parametrize(
    ("limit", "count", "truncated"), [(None, 50, True), (3, 3, True), (1000, 50, True), (50, 50, True)]
)
def test_the_number_of_rows_is_capped(web, limit, count, truncated):
    answer = web.post("/api/v1/sql", {"sql": "SELECT * FROM range(51)", "limit": limit}).json

    assert (count, truncated) == (answer["row_count"], answer["truncated"])


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "sql"),
        ({"sql": " "}, "sql"),
        ({"sql": 1}, "sql"),
        ({"sql": "SELECT 1", "params": [1]}, "params"),
        ({"sql": "SELECT 1", "limit": 0}, "limit"),
        ({"sql": "SELECT 1", "limit": True}, "limit"),
        ({"sql": "SELECT 1", "format": "xml"}, "format"),
        ({"sql": "SELECT 1", "fresh": "yes"}, "fresh"),
        ({"sql": "SELECT 1", "saved": "firing"}, "saved"),
        ({"saved": 1}, "saved"),
        ({"saved": "no-such"}, "saved"),
        ({"saved": "firing", "params": {"nothing": 1}}, "params"),
    ],
)
def test_a_wrong_question_is_400(web, asked, field):
    answer = web.post("/api/v1/sql", asked)

    assert (400, "bad_request", field) == (answer.status, answer.error["code"], answer.error["field"])


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT nothing_like_it", 400, "sql_error"),
        ("DROP TABLE incident", 403, "refused"),
        ("SELECT 1; DROP TABLE incident", 403, "refused"),
        (SLOW, 504, "timeout"),
    ],
)
def test_a_query_that_does_not_run(web, sql, status, code):
    answer = web.post("/api/v1/sql", {"sql": sql})

    assert (status, code) == (answer.status, answer.error["code"])


def test_without_a_free_worker_in_time_it_is_503(web):
    pool, web.service.queries = web.service.queries, WorkerPool(1, wait_s=0.01)
    with web.service.queries.worker(None):
        busy = web.post("/api/v1/sql", {"sql": "SELECT 1"})
    web.service.queries.close()
    web.service.queries = pool

    assert (503, "busy") == (busy.status, busy.error["code"])
    assert "Retry-After" in busy.headers
    assert 200 == web.post("/api/v1/sql", {"sql": "SELECT 1"}).status


def test_a_fresh_answer_has_all_that_is_committed(web):
    count = {"sql": "SELECT count(*) FROM alerts", "fresh": True}
    before = web.post("/api/v1/sql", count).json["rows"][0][0]
    web.post("/webhook", webhook(webhook_alert(labels={"alertname": "Another"})))

    assert before + 1 == web.post("/api/v1/sql", count).json["rows"][0][0]


def test_a_query_ends_with_the_connection_of_whoever_asked(tmp_path):
    settings = Settings(sql=SqlSettings(workers=1, timeout="600s"))
    with Store.open(tmp_path / "data") as store, serving(store, settings) as web:
        connection = web.connect()
        connection.request("POST", "/api/v1/sql", json.dumps({"sql": SLOW}))
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()

        assert 200 == web.post("/api/v1/sql", {"sql": "SELECT 1"}).status
        wait_until(lambda: store.rows("SELECT sql FROM sql_audit WHERE outcome = 'cancelled'"))
        assert [SLOW] == [row["sql"] for row in store.rows("SELECT sql FROM sql_audit WHERE outcome = 'cancelled'")]


def test_other_forms_say_in_the_headers_what_json_has_beside_the_rows(web):
    answer = web.post("/api/v1/sql", {"sql": "FROM range(100)", "format": "csv"})

    assert ("50", "true") == (answer.headers["X-Query-Rows"], answer.headers["X-Query-Truncated"])
    assert answer.headers["X-Query-As-Of"].endswith("Z")
    assert float(answer.headers["X-Query-Elapsed-Ms"]) > 0


def test_arrow_becomes_a_data_frame_in_one_line(web):
    body = web.post("/api/v1/sql", {"sql": "SELECT 1 AS a, MAP {'k': 'v'} AS m", "format": "arrow"}).body

    assert [1] == pa.ipc.open_stream(body).read_pandas()["a"].to_list()
    assert [1] == pl.read_ipc_stream(body)["a"].to_list()


def test_saved_queries_are_listed_and_asked_by_name(web):
    listed = web.get("/api/v1/queries").json["queries"]
    answer = web.post("/api/v1/sql", {"saved": "firing", "params": {"service": None}})

    assert ["name", "question", "parameters", "sql"] == list(listed[0])
    assert 200 == answer.status
    assert "HighLatency" in [row[0] for row in answer.json["rows"]]


def test_who_asked_what_is_written_down(web):
    for sql in ("SELECT 4711", "SELECT nothing_4711"):
        web.post("/api/v1/sql", {"sql": sql})
    web.store.control.run(lambda _: None)  # queued behind the entries

    found = web.store.rows("SELECT who, outcome, row_count FROM sql_audit WHERE sql LIKE '%4711' ORDER BY \"at\"")
    assert [("anybody", "done", 1), ("anybody", "sql_error", 0)] == [tuple(row.values()) for row in found]
