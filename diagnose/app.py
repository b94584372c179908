"""
Builds everything once from the settings, starts it in order and stops it in reverse.

    store → outbox → pipeline (takes up what a crash left) → baseline scheduler → reconciler → web
"""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pyarrow as pa

from diagnose.by_hand import Wanted
from diagnose.capture.baseline import BaselineScheduler
from diagnose.capture.choice import choose
from diagnose.capture.targets import TargetDirectory
from diagnose.capture.worst import Measured
from diagnose.config import Reloaded, Settings, combine
from diagnose.errors import ConfigError, NotFound
from diagnose.model import Accepted, AlertGroup, Labels
from diagnose.notify import make_sink
from diagnose.notify.outbox import Outbox
from diagnose.pipeline import Pipeline
from diagnose.planning import dry_run
from diagnose.prometheus import Prometheus
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, QueryAnswer, Question
from diagnose.reconcile.reconciler import Reconciler
from diagnose.redact import Redactor
from diagnose.store.db import Store
from diagnose.store.incidents import count_open, open_incidents
from diagnose.store.retention import Removed, Retention
from diagnose.store.segments import Segments
from diagnose.store.snapshots import Snapshots
from diagnose.store.spool import Spool
from diagnose.telemetry import DISK_FREE, OPEN_INCIDENTS, QUEUE_AGE, QUEUE_JOBS, READY, get_logger
from diagnose.web.listeners import Listeners

log = get_logger(__name__)
# A busy Python thread costs ingest two fifths; at 0.0005 it would be seven tenths (docs/performance/ingest.md).
SWITCH_INTERVAL_S = 0.00002
M_ARENA_MAX, ARENAS = -8, 2  # of malloc.h
MIN_DISK_FREE_BYTES = 64 * 1024 * 1024


class Service:
    """
    The running service; what the web needs of it is `web.service.Service`.

    *load* reads the settings again for `reload`; `on_reload` is called with them once they are in effect.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self.on_reload: Callable[[Settings], None] = lambda _: None
        self._load = load or (lambda: self.settings)
        self._reloading = threading.Lock()
        self.store = Store.open(settings.store.path, queue_bytes=settings.ingest.queue_bytes)
        self.store.redactor = Redactor(settings.ingest.redact)
        prometheus = [Prometheus(server) for server in settings.prometheus]
        self.directory = TargetDirectory(settings, prometheus)
        self.outbox = Outbox(self.store, [make_sink(sink) for sink in settings.sinks])
        self.pipeline = Pipeline(self.store, settings, prometheus, self.directory, self.outbox)
        self.baselines = BaselineScheduler(self.store, self.directory, settings, self._is_sick)
        self.reconciler = Reconciler(
            self.store, settings, accept=self.pipeline.receive, conclude=self.pipeline.conclude_soon
        )
        self.spool = Spool(self.store)
        self.segments = Segments(self.store)
        self.retention = Retention(
            self.store, self.segments, settings.store.retention, baselines=settings.baseline.keep
        )
        self.snapshots = Snapshots(self.store, self.segments)
        self.queries = WorkerPool(settings.sql.workers, wait_s=settings.sql.timeout.total_seconds())

    def start(self) -> None:
        self._watch_ourselves()
        self.outbox.start()
        self.pipeline.resume()
        self.baselines.start()
        self.reconciler.start()
        self.queries.start()
        self.segments.start()
        self.retention.start()

    def stop(self) -> None:
        """Everything that was acknowledged is committed when this returns."""
        self.reconciler.stop()
        self.baselines.stop()
        self.pipeline.stop()
        self.outbox.stop()
        self.queries.close()
        self.snapshots.close()
        self.retention.stop()
        self.segments.stop()
        self.store.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def accept_alerts(self, group: AlertGroup) -> Accepted:
        """Returns after the commit. Raises StoreBusy when that did not happen in time."""
        accepted = self.pipeline.receive(group)
        if group.truncated_alerts:
            self.reconciler.wake()  # to take in what was left out
        return accepted

    def dry_run(self, group: AlertGroup) -> list[dict[str, Any]]:
        """What would be done about each alert and why. Nothing is stored, asked of a process or delivered."""
        return dry_run(group, self.settings, self.directory, self.store)

    def close_incident(self, incident_id: str, why: str) -> None:
        self.pipeline.close(incident_id, why)

    def merge_incidents(self, into: str, taken: Sequence[str]) -> None:
        self.pipeline.merge(into, taken)

    def split_incident(self, incident_id: str, episodes: Sequence[str]) -> str:
        return self.pipeline.split(incident_id, episodes)

    def capture(self, incident_id: str, wanted: Wanted) -> None:
        self.pipeline.capture(incident_id, wanted)

    def capture_targets(self, name: str | None, labels: Labels, wanted: Wanted, instances: int) -> str:
        """An incident of its own for at most *instances* targets of that name or these labels. Raises NotFound."""
        known = self.directory.all() if name else self.directory.for_labels(labels)
        named = [each for each in known if name in (None, each.name)]
        if not named:
            raise NotFound("no target of the allow-list is called or labelled so")
        of_service = [each for each in named if each.service == named[0].service]
        chosen = choose(of_service, self.directory.named(labels, of_service), instances, Measured())
        return self.pipeline.capture_targets(chosen.sick, wanted)

    def run_retention(self) -> Removed:
        return self.retention.run()

    def reload(self) -> Reloaded:
        """Read the settings again and put them into effect. Raises ConfigError; then the old ones stay."""
        with self._reloading:
            settings, reloaded = combine(self.settings, self._load())
            if reloaded.changed:
                self._use(settings, set(reloaded.changed))
            log.info(
                "settings reloaded",
                changed=", ".join(reloaded.changed) or "nothing",
                needs_restart=", ".join(reloaded.needs_restart) or "nothing",
            )
            return reloaded

    def _use(self, settings: Settings, changed: AbstractSet[str]) -> None:
        sinks = [make_sink(sink) for sink in settings.sinks]
        prometheus = [Prometheus(server) for server in settings.prometheus]
        self.directory = TargetDirectory(settings, prometheus)
        self.settings = settings
        self.outbox.use(sinks)
        self.pipeline.use(settings, prometheus, self.directory)
        self.reconciler.use(settings)
        self.retention.settings = settings.store.retention
        self.store.redactor = Redactor(settings.ingest.redact)
        if changed & {"prometheus", "targets", "baseline"}:
            self.baselines.stop()
            self.baselines = BaselineScheduler(self.store, self.directory, settings, self._is_sick)
            self.baselines.start()
        self.on_reload(settings)

    def run_sql(self, question: Question, *, who: str | None, client: int | None) -> QueryAnswer:
        """A reader's SQL over a snapshot at most five seconds old. Raises QueryError."""
        limits = Limits.of(self.settings.sql, rows=question.limit)
        with self.queries.worker(who) as worker, self.snapshots.newest(fresh=question.fresh) as snapshot:
            return worker.ask(question, snapshot, limits, client=client)

    def ready_problems(self) -> list[str]:
        """Why the service cannot take alerts now; empty when it can."""
        writers = (self.store.control, self.store.telemetry)
        problems = [f"the writer of the {each.name} database has stopped" for each in writers if not each.is_alive]
        problems += [each.problem for each in writers if each.problem]
        if _disk_free_bytes(self.settings.store.path) < MIN_DISK_FREE_BYTES:
            problems.append(f"less than {MIN_DISK_FREE_BYTES >> 20} MiB free in {self.settings.store.path}")
        return problems

    def _is_sick(self, service: str) -> bool:
        return any(incident.service_name == service for incident in open_incidents(self.store))

    def _watch_ourselves(self) -> None:
        READY.set_function(lambda: float(not self.ready_problems()))
        OPEN_INCIDENTS.set_function(lambda: count_open(self.store))
        DISK_FREE.set_function(lambda: _disk_free_bytes(self.settings.store.path))
        for writer in (self.store.control, self.store.telemetry):
            QUEUE_JOBS.labels(writer.name).set_function(partial(getattr, writer, "waiting_jobs"))
            QUEUE_AGE.labels(writer.name).set_function(partial(getattr, writer, "oldest_waiting_s"))


def _disk_free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


def _prepare_process() -> None:
    """For many threads that take and give back megabytes; before any of them starts."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own takes half of the time of ingest, and twice the memory
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # only glibc has it, which else keeps 15 % more memory
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def run(settings: Settings, load: Callable[[], Settings] | None = None) -> None:
    """
    Serve until SIGTERM or SIGINT; SIGHUP reloads the settings with *load*.

    Raises ConfigError when the address is taken, StoreError when the data is.
    """
    _prepare_process()
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # the one kind of queue a signal handler may put into

    def remember(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, remember)
    service = Service(settings, load)
    server = Listeners(service, settings)
    service.on_reload = server.use
    try:
        server.start()
        with service:
            gc.freeze()  # modules stay: walking them took 40 ms of every fourth large answer
            log.info("serving", listen=settings.server.listen, data=str(settings.store.path))
            while signals.get() == signal.SIGHUP:
                _reload(service)
            server.stop()
    finally:
        server.stop()
    log.info("stopped")


def _reload(service: Service) -> None:
    try:
        service.reload()
    except ConfigError as err:
        log.warning("settings not reloaded, the old ones stay", mistakes=str(err))
