"""The service as its users run it: a process of its own, asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from demo.processes import free_port

Answer = TypeVar("Answer")
PATIENCE_S = 120.0


class ServiceProcess:
    """`diagnose serve` with a data directory in *folder*; started by `start`, ended by `stop` or `kill`."""

    patience_s = PATIENCE_S

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.config = folder / "diagnose.yaml"
        self.reports = folder / "reports"
        listen = {"listen": self.url.removeprefix("http://"), "external_url": self.url}
        sinks = [{"type": "file", "name": "folder", "path": str(self.reports)}]
        self.settings = {"server": listen, "sinks": sinks, **settings}
        self._log = (folder / "service.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self) -> None:
        """Write what is in `settings` where the process reads it."""
        self.config.write_text(yaml.safe_dump(self.settings))

    def start(self) -> Self:
        self.configure()
        command = [sys.executable, "-m", "diagnose", "--config", str(self.config), "serve"]
        self._process = subprocess.Popen(
            command, stderr=self._log, stdout=self._log, cwd=self.folder, env=dict(os.environ)
        )
        self.wait_for(lambda: self._get("/readyz")[0] == 200)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As the kernel does it when memory is short."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        return self._end(signal.SIGTERM)

    def hang_up(self) -> None:
        """SIGHUP: read the settings again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def cpu_s(self) -> float:
        """What the process has used so far, in all its threads."""
        assert self._process is not None
        used = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(how)
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()

    def kill_for_good(self) -> None:
        """Instead of leaving the `with` block, for those who have none."""
        self.kill()
        self._log.close()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and the JSON of the answer; 0 when there is none. *body* is JSON, or bytes as they are."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, method="POST")
        return self._ask(request)

    def get(self, path: str) -> Any:
        """The JSON at *path*; None while there is none."""
        status, body = self._get(path)
        return body if status == 200 else None

    def status(self, path: str) -> tuple[int, Any]:
        """Status and the JSON of the answer; 0 when there is none."""
        return self._get(path)

    def _get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(self.url + path))

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, _decoded(response.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, _decoded(refused.read())
        except (urllib.error.URLError, ConnectionError, HTTPException):  # nobody is there, or it died meanwhile
            return 0, None

    def wait_for(self, found: Callable[[], Answer]) -> Answer:
        """What *found* answers once that is true. Fails with the log when it does not come true in time."""
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline:
            if answer := found():
                return answer
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError((self.folder / "service.log").read_text()[-4000:])

    def report(self, incident_id: str, reason: str) -> Any:
        """report.json of the first revision put out for that reason."""

        def newest() -> Any:
            report = self.get(f"/api/v1/incidents/{incident_id}/report.json")
            return report if report and report["reason"] == reason else None

        return self.wait_for(newest)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()
