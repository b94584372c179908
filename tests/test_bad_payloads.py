"""The table of bad_payloads.py against the real service in its own process."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bad_payloads import CAP_BYTES, Payload, payloads
from tests.builders import webhook, webhook_alert
from tests.service_process import ServiceProcess

TABLE = payloads()
MOST_MEMORY_BYTES = 300_000_000  # on top of what the service takes when it starts
NO_INCIDENTS = [{"matchers": ['alertname="nothing"']}]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    with ServiceProcess(folder, rules=NO_INCIDENTS, ingest={"webhook_max_bytes": CAP_BYTES}) as running:
        yield running


def post(service: ServiceProcess, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", "/webhook", body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def memory_bytes(service: ServiceProcess) -> int:
    """The most it ever had (VmHWM, proc(5))."""
    for line in Path(f"/proc/{service.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_the_table_is_long_and_every_name_in_it_occurs_once():
    assert len(TABLE) >= 60
    assert len({payload.name for payload in TABLE}) == len(TABLE)


@pytest.fixture(scope="module")
def memory_before(service: ServiceProcess) -> int:
    post(service, json.dumps(webhook(groupKey="first")).encode())
    return memory_bytes(service)


@pytest.mark.parametrize("payload", TABLE, ids=lambda payload: payload.name)
def test_a_bad_payload_is_answered_as_the_contract_says(service: ServiceProcess, memory_before: int, payload: Payload):
    status, answer = post(service, payload.body, payload.headers)

    assert payload.status == status, answer
    if status == 202:
        assert (payload.accepted, payload.rejected) == (answer["accepted"], len(answer.get("rejected", [])))
        assert all(each["reason"] for each in answer.get("rejected", []))
    else:
        assert answer["error"]["message"]
        assert payload.field_ == answer["error"].get("field") or payload.field_ is None
    assert memory_bytes(service) < memory_before + MOST_MEMORY_BYTES


def test_after_all_of_them_at_once_nothing_good_is_lost_and_what_was_refused_is_kept_once(service: ServiceProcess):
    accepted: list[int] = []

    def good() -> None:
        for number in range(20):
            body = json.dumps(webhook(webhook_alert(fingerprint=f"meanwhile {number}"), groupKey=str(number))).encode()
            accepted.append(post(service, body)[1]["accepted"])

    def bad(part: list[Payload]) -> None:
        for payload in part:
            post(service, payload.body, payload.headers)

    threads = [threading.Thread(target=good)]
    threads += [threading.Thread(target=bad, args=(TABLE[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [1] * 20 == accepted
    service.kill()
    service.start()
    count = "SELECT count(*) FROM alerts WHERE fingerprint LIKE $like"
    rows = {
        like: service.post("/api/v1/sql", {"sql": count, "params": {"like": like}})[1]["rows"][0][0]
        for like in ("meanwhile %", "good beside %", "odd %")
    }
    expected_odd = sum(payload.accepted for payload in TABLE if b"odd " in payload.body)
    expected_good = sum(payload.accepted for payload in TABLE if b"good beside " in payload.body)
    assert {"meanwhile %": 20, "odd %": expected_odd} == {like: rows[like] for like in ("meanwhile %", "odd %")}
    assert rows["good beside %"] >= expected_good
