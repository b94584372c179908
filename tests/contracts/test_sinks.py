"""What every sink must keep to. A new one needs its line in FILE_SINKS or HTTP_SINKS, nothing else here."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from diagnose import config
from diagnose.errors import SinkError
from diagnose.notify import SINKS, Message, Sink, make_sink

PASSWORD = "hunter2-4d0f9e"
TOKEN = "tok-7f3a2b9c11"
HEADER = "header-5c1e8842"
IN_URL = "T0000000XXXX/B000YYYY"
MESSAGE = Message(
    incident_id="inc-1q2w3e4r5t",
    revision=2,
    reason="profiles captured",
    created_at=datetime(2026, 11, 24, 10, 4, 40, tzinfo=UTC),
    status="open",
    title="HighLatency · checkout",
    summary="71 % of on-CPU time is in pricing.(*Matcher).match",
    url="http://127.0.0.1:9095/incidents/inc-1q2w3e4r5t",
    html="<!doctype html><p>the page",
    markdown="# the page",
    json='{"schema_version": 1, "revision": 2, "verdict": null}\n',
)


class Receiver(ThreadingHTTPServer):
    """Answers every POST with `status` and `answer`, and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answer = b""
        self.echo = False
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/services/{IN_URL}?key={TOKEN}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = dict(self.headers.items())
        self.server.got.append((self.path, headers, body))
        answer = f"{self.path} {headers}".encode() if self.server.echo else self.server.answer
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.server.got.append((self.path, {}, b""))
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def webhook(url: str) -> config.Sink:
    return config.WebhookSink(
        type="webhook",
        name="hook",
        url=url,
        basic_auth=config.BasicAuth(username="diagnose", password=PASSWORD),
        http_headers={"X-Api-Key": HEADER},
    )


HTTP_SINKS = {"webhook": webhook}
FILE_SINKS = {"file": lambda path: config.FileSink(type="file", name="folder", path=path)}
http_sinks = pytest.mark.parametrize("make", HTTP_SINKS.values(), ids=HTTP_SINKS.keys())

FINAL = (301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422)
RETRYABLE = (408, 425, 429, 500, 501, 502, 503, 504, 507)


def test_every_sink_is_in_this_file():
    assert set(SINKS) == HTTP_SINKS.keys() | FILE_SINKS.keys()


@http_sinks
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_2xx_is_a_delivery(receiver, make, status):
    receiver.status = status

    make_sink(make(receiver.url)).deliver(MESSAGE)

    assert 1 == len(receiver.got)


@http_sinks
@pytest.mark.parametrize(
    ("status", "retryable"), [(each, False) for each in FINAL] + [(each, True) for each in RETRYABLE]
)
def test_every_other_status_says_whether_to_try_again(receiver, make, status, retryable):
    receiver.status = status
    receiver.headers = {"Location": "/elsewhere"}
    receiver.answer = b"channel_not_found\n  really"
    with pytest.raises(SinkError) as caught:
        make_sink(make(receiver.url)).deliver(MESSAGE)

    assert retryable == caught.value.retryable
    assert f"HTTP {status}" in str(caught.value)
    assert status < 400 or "channel_not_found really" in str(caught.value)
    assert 1 == len(receiver.got)


@http_sinks
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 0), ("999999999999", 3600), ("Tue, 01 Jan 2030 00:00:00 GMT", 3600), ("soon", None), ("-3", None)],
)
def test_retry_after_is_understood(receiver, make, header, seconds):
    receiver.status = 429
    receiver.headers = {"Retry-After": header}
    with pytest.raises(SinkError) as caught:
        make_sink(make(receiver.url)).deliver(MESSAGE)

    assert seconds == caught.value.retry_after_s


@http_sinks
def test_a_receiver_that_is_down_is_tried_again(receiver, make):
    url = receiver.url
    receiver.server_close()
    with pytest.raises(SinkError) as caught:
        make_sink(make(url)).deliver(MESSAGE)

    assert caught.value.retryable


def secrets() -> list[str]:
    basic = base64.b64encode(f"diagnose:{PASSWORD}".encode()).decode()
    return [PASSWORD, TOKEN, HEADER, IN_URL, *IN_URL.split("/"), basic]


@http_sinks
@pytest.mark.parametrize("status", [302, 400, 503])
def test_no_error_repeats_a_secret_even_when_the_receiver_does(receiver, make, status):
    receiver.status = status
    receiver.echo = True
    with pytest.raises(SinkError) as caught:
        make_sink(make(receiver.url)).deliver(MESSAGE)

    sent = str(receiver.got)
    assert all(secret in sent for secret in secrets() if secret != PASSWORD)  # that one went encoded
    assert [] == [secret for secret in secrets() if secret in f"{caught.value!r} {caught.value.__cause__!r}"]


@http_sinks
@pytest.mark.parametrize("cut_at", range(0, len(TOKEN) + 1, 3))
def test_no_error_holds_a_piece_of_a_secret_that_was_cut(receiver, make, cut_at):
    receiver.status = 400
    receiver.answer = b"x" * 180 + TOKEN.encode()[:cut_at]
    with pytest.raises(SinkError) as caught:
        make_sink(make(receiver.url)).deliver(MESSAGE)

    assert TOKEN[:8] not in str(caught.value)


@http_sinks
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/tok-7f3a2b9c11", "nonsense://tok-7f3a2b9c11", "http://[tok-7f3a2b9c11", "http://", ""]
)
def test_no_error_of_the_connection_repeats_a_secret(make, url):
    settings = make("http://127.0.0.1:1").model_copy(update={"url": url})
    with pytest.raises(SinkError) as caught:
        make_sink(settings).deliver(MESSAGE)

    assert TOKEN not in f"{caught.value!r}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("make", FILE_SINKS.values(), ids=FILE_SINKS.keys())
def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path, make):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(SinkError) as caught:
        make_sink(make(tmp_path / "taken")).deliver(MESSAGE)

    assert caught.value.retryable


def delivered(sink: Sink, **changes: Any) -> str | None:
    return sink.deliver(Message(**{**MESSAGE.__dict__, **changes}))


def test_the_webhook_gets_the_report_and_an_idempotency_key(receiver):
    make_sink(webhook(receiver.url)).deliver(MESSAGE)
    path, headers, body = receiver.got[0]
    content = json.loads(body)

    assert f"/services/{IN_URL}?key={TOKEN}" == path
    assert ("inc-1q2w3e4r5t", "2") == (headers["X-Diagnose-Incident"], headers["X-Diagnose-Revision"])
    assert ("application/json", HEADER) == (headers["Content-Type"], headers["X-Api-Key"])
    assert {"schema_version": 1, "revision": 2, "verdict": None} == content.pop("report")
    assert {
        "incident_id": "inc-1q2w3e4r5t",
        "revision": 2,
        "reason": "profiles captured",
        "status": "open",
        "title": "HighLatency · checkout",
        "summary": "71 % of on-CPU time is in pricing.(*Matcher).match",
        "url": "http://127.0.0.1:9095/incidents/inc-1q2w3e4r5t",
    } == content


def test_a_url_in_a_file_is_read_for_every_delivery(receiver, tmp_path):
    file = tmp_path / "url"
    sink = make_sink(config.WebhookSink(type="webhook", name="hook", url_file=file))
    with pytest.raises(SinkError, match="cannot read a secret") as caught:
        sink.deliver(MESSAGE)

    assert caught.value.retryable
    assert str(file) not in str(caught.value)

    file.write_text(f"{receiver.url}\n")
    sink.deliver(MESSAGE)

    assert 1 == len(receiver.got)


def test_the_folder_of_an_incident_holds_the_newest_report(tmp_path):
    sink = make_sink(config.FileSink(type="file", name="folder", path=tmp_path / "reports"))
    ref = sink.deliver(MESSAGE)
    folder = tmp_path / "reports" / "inc-1q2w3e4r5t"

    assert str(folder / "report.html") == ref
    assert ["report.html", "report.json", "report.md"] == sorted(file.name for file in folder.iterdir())
    assert (MESSAGE.html, MESSAGE.markdown, MESSAGE.json) == tuple(
        (folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md", "report.json")
    )

    delivered(sink, revision=3, json='{"revision": 3}', html="three")
    delivered(sink, revision=2, html="two again")

    assert "three" == (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("incident_id", ["../../etc", "a/b", "..", "", ".hidden", "x" * 200])
def test_no_incident_id_leads_out_of_the_folder(tmp_path: Path, incident_id):
    sink = make_sink(config.FileSink(type="file", name="folder", path=tmp_path / "reports"))
    with pytest.raises(SinkError) as caught:
        delivered(sink, incident_id=incident_id)

    assert not caught.value.retryable
    assert not (tmp_path / "reports").exists()
