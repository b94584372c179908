"""
Builds everything once from the settings, starts it in order and stops it in reverse.

    store → outbox → pipeline (takes up what a crash left) → baseline scheduler → web
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Self

from diagnose.capture.baseline import BaselineScheduler
from diagnose.capture.targets import TargetDirectory
from diagnose.config import Settings
from diagnose.model import Accepted, AlertGroup
from diagnose.notify import make_sink
from diagnose.notify.outbox import Outbox
from diagnose.pipeline import Pipeline
from diagnose.prometheus import Prometheus
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, QueryAnswer, Question
from diagnose.store.db import Store
from diagnose.store.incidents import open_incidents
from diagnose.store.snapshots import Snapshots
from diagnose.telemetry import DISK_FREE, OPEN_INCIDENTS, QUEUE_JOBS, READY, get_logger
from diagnose.web import create_app
from diagnose.web.server import HttpServer

log = get_logger(__name__)
SWITCH_INTERVAL_S = 0.0005  # a busy Python thread otherwise starves the Arrow kernels of ingest
MIN_DISK_FREE_BYTES = 64 * 1024 * 1024


class Service:
    """The running service; what the web needs of it is `web.service.Service`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.open(settings.store.path, queue_bytes=settings.ingest.queue_bytes)
        prometheus = [Prometheus(server) for server in settings.prometheus]
        self.directory = TargetDirectory(settings, prometheus)
        self.outbox = Outbox(self.store, [make_sink(sink) for sink in settings.sinks])
        self.pipeline = Pipeline(self.store, settings, prometheus, self.directory, self.outbox)
        self.baselines = BaselineScheduler(self.store, self.directory, settings, self._is_sick)
        self.snapshots = Snapshots(self.store)
        self.queries = WorkerPool(settings.sql.workers)

    def start(self) -> None:
        self._watch_ourselves()
        self.outbox.start()
        self.pipeline.resume()
        self.baselines.start()
        self.queries.start()

    def stop(self) -> None:
        """Everything that was acknowledged is committed when this returns."""
        self.baselines.stop()
        self.pipeline.stop()
        self.outbox.stop()
        self.queries.close()
        self.snapshots.close()
        self.store.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def accept_alerts(self, group: AlertGroup) -> Accepted:
        """Returns after the commit. Raises StoreBusy when that did not happen in time."""
        return self.pipeline.receive(group)

    def run_sql(self, question: Question, *, who: str | None, client: int | None) -> QueryAnswer:
        """A reader's SQL over a snapshot at most five seconds old. Raises QueryError."""
        limits = Limits.of(self.settings.sql, rows=question.limit)
        with self.queries.worker(who) as worker, self.snapshots.newest(fresh=question.fresh) as snapshot:
            return worker.ask(question, snapshot, limits, client=client)

    def ready_problems(self) -> list[str]:
        """Why the service cannot take alerts now; empty when it can."""
        writers = (self.store.control, self.store.telemetry)
        problems = [f"the writer of the {each.name} database has stopped" for each in writers if not each.is_alive]
        if _disk_free_bytes(self.settings.store.path) < MIN_DISK_FREE_BYTES:
            problems.append(f"less than {MIN_DISK_FREE_BYTES >> 20} MiB free in {self.settings.store.path}")
        return problems

    def _is_sick(self, service: str) -> bool:
        return any(incident.service_name == service for incident in open_incidents(self.store))

    def _watch_ourselves(self) -> None:
        READY.set_function(lambda: float(not self.ready_problems()))
        OPEN_INCIDENTS.set_function(lambda: len(open_incidents(self.store)))
        DISK_FREE.set_function(lambda: _disk_free_bytes(self.settings.store.path))
        for writer in (self.store.control, self.store.telemetry):
            QUEUE_JOBS.labels(writer.name).set_function(partial(getattr, writer, "waiting_jobs"))


def _disk_free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError when the address is taken, StoreError when the data is."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    service = Service(settings)
    server = HttpServer(create_app(service, settings), settings)
    try:
        server.start()
        with service:
            log.info("serving", listen=settings.server.listen, data=str(settings.store.path))
            stopping.wait()
            server.stop()
    finally:
        server.stop()
    log.info("stopped")
