"""The program itself, as a user starts and stops it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from demo.processes import free_port

DIAGNOSE = [sys.executable, "-m", "diagnose"]


def diagnose(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [*DIAGNOSE, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "diagnose.yaml").write_text(f"server: {{listen: '127.0.0.1:{free_port()}'}}\n")
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with (folder / "log").open("w") as log, subprocess.Popen([*DIAGNOSE, "serve"], cwd=folder, stderr=log) as server:
        try:
            _wait_until_ready(server, (folder / "diagnose.yaml").read_text().split("'")[1])
            yield server
        finally:
            server.kill()


def _wait_until_ready(server: subprocess.Popen[str], address: str) -> None:
    for _ in range(300):
        assert server.poll() is None
        try:
            if requests.get(f"http://{address}/readyz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)  # there is nothing to wait for before the listener is there
    pytest.fail("the server was not ready within 30 s")


def test_an_alert_is_taken_and_kept_over_a_restart(folder, running):
    labels = ["--label", "job=checkout", "--label", "severity=critical"]
    sent = diagnose("simulate", "--alertname", "HighLatency", *labels, "--json", folder=folder)
    [incident_id] = json.loads(sent.stdout)["incidents"]
    assert incident_id in diagnose("incidents", "list", folder=folder).stdout

    listen = (folder / "diagnose.yaml").read_text()
    (folder / "second.yaml").write_text(f"{listen}store: {{path: elsewhere}}\n")
    second = diagnose("serve", "--config", "second.yaml", folder=folder)
    assert 2 == second.returncode
    assert "server.listen: 127.0.0.1:" in second.stderr
    assert "is in use by another program" in second.stderr
    assert "Traceback" not in second.stderr

    (folder / "third.yaml").write_text(f"server: {{listen: '127.0.0.1:{free_port()}'}}\n")
    third = diagnose("serve", "--config", "third.yaml", folder=folder)
    assert "is open already (is a server running?)" in third.stderr
    assert "Traceback" not in third.stderr

    running.send_signal(signal.SIGTERM)
    assert 0 == running.wait(30)
    assert "no credentials are set" in (folder / "log").read_text()
    assert incident_id in diagnose("incidents", "list", folder=folder).stdout
