"""A full disk, as a quota of the service's process: no file may grow beyond a size (RLIMIT_FSIZE)."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from tests.builders import webhook, webhook_alert
from tests.service_process import ServiceProcess

ROOM_BYTES = 60_000
NO_INCIDENTS = [{"matchers": ['alertname="nothing"']}]


def post(service: ServiceProcess, number: int) -> tuple[int, Any]:
    alert = webhook_alert(
        labels={"alertname": "HighLatency", "instance": str(number)}, annotations={"summary": "x" * 2000}
    )
    return service.post("/webhook", webhook(alert, groupKey=str(number)))


def instances(service: ServiceProcess) -> list[str]:
    answer = service.post("/api/v1/sql", {"sql": "SELECT labels['instance'] FROM alerts"})[1]
    return [row[0] for row in answer["rows"]]


def test_a_full_disk_is_503_until_there_is_room_again_and_nothing_acknowledged_is_lost(tmp_path: Path):
    """No incident opens: its work would write too, and this is about the door."""
    with ServiceProcess(tmp_path, rules=NO_INCIDENTS) as service:
        accepted = [number for number in range(3) if post(service, number)[0] == 202]
        assert [0, 1, 2] == accepted
        limits = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
        largest = max(file.stat().st_size for file in (tmp_path / "data").glob("control.duckdb*"))
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (largest + ROOM_BYTES, limits[1]))

        status = 202
        for number in range(3, 100):
            status, answer = post(service, number)
            if status != 202:
                break
            accepted.append(number)
        assert (503, "busy") == (status, answer["error"]["code"])
        status, answer = service.status("/readyz")
        assert 503 == status
        assert "not durable" in answer["reasons"][0]

        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, limits)
        service.wait_for(lambda: service.get("/readyz"))
        assert 202 == post(service, 1000)[0]
        accepted.append(1000)
        service.kill()
        service.start()

        assert sorted(map(str, accepted)) == sorted(instances(service))
