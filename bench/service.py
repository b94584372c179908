"""The service in a process of its own, and what it costs: CPU seconds, memory, bytes on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from demo.processes import free_port

PATIENCE_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class MeasuredService:
    """
    `diagnose serve` with an empty data directory. *module* may be another program with the same arguments.

    *environment* adds to that of this process.
    """

    def __init__(self, *, module: str = "diagnose", environment: dict[str, str] | None = None, **settings: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.folder = Path(self._folder.name)
        self.port = free_port()
        config = self.folder / "diagnose.yaml"
        config.write_text(yaml.safe_dump({"server": {"listen": f"127.0.0.1:{self.port}"}, **settings}))
        self._log = (self.folder / "service.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(config), "serve"],
            cwd=self.folder,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": str(Path.cwd()), **(environment or {})},
        )
        self._peak_rss = 0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._wait_until_ready()
        self._watch.start()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "service.log").read_text()[-4000:])

    def _watch_memory(self) -> None:
        while not self._ended.wait(0.05):
            self._peak_rss = max(self._peak_rss, self.rss_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """Everything is on disk afterwards."""
        self._ended.set()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)
        self._log.close()

    def cpu_seconds(self) -> float:
        """Of the service and the children it has waited for."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / TICKS

    def rss_bytes(self) -> int:
        try:
            return int(self._proc("statm").split()[1]) * PAGE
        except (OSError, IndexError):
            return 0

    @property
    def peak_rss_bytes(self) -> int:
        return self._peak_rss

    def disk_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.folder / "data").rglob("*") if file.is_file())

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()
