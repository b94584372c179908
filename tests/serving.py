"""The web application on a real listener, over a real store and the smallest service there can be."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diagnose.capture.targets import TargetDirectory
from diagnose.config import Reloaded, Settings, SqlSettings
from diagnose.errors import ConfigError, Mistake, StoreBusy
from diagnose.model import Accepted, AlertGroup
from diagnose.planning import dry_run
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, QueryAnswer, Question
from diagnose.receive.grouping import incident_key, matching_rule
from diagnose.redact import Redactor
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from diagnose.store.incidents import close_incident
from diagnose.store.merging import merge_incidents, split_incident
from diagnose.store.retention import Removed, Retention
from diagnose.store.segments import Segments
from diagnose.store.snapshots import Snapshots
from diagnose.store.spool import Spool
from diagnose.web import create_app
from diagnose.web.server import HttpServer


class SmallService:
    """Stores what comes in and starts nothing. `problems` is what /readyz says; `busy` refuses alerts."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        store.redactor = Redactor(settings.ingest.redact)
        self.settings = settings
        self.segments = Segments(store)
        self.snapshots = Snapshots(store, self.segments)
        self.spool = Spool(store)
        self.queries = WorkerPool(settings.sql.workers, wait_s=settings.sql.timeout.total_seconds())
        self.problems: list[str] = []
        self.busy = False

    def accept_alerts(self, group: AlertGroup) -> Accepted:
        if self.busy:
            raise StoreBusy("the control database is behind", retry_after_s=7)
        return save_group(
            self.store,
            group,
            lambda alert: (
                incident_key(alert.labels, self.settings) if matching_rule(alert.labels, self.settings) else None
            ),
            quiet=self.settings.incidents.quiet,
        )

    def run_retention(self) -> Removed:
        return Retention(self.store, self.segments, self.settings.store.retention, min_free_bytes=0).run()

    def dry_run(self, group: AlertGroup) -> list[dict[str, Any]]:
        return dry_run(group, self.settings, TargetDirectory(self.settings, []), self.store)

    def close_incident(self, incident_id: str, why: str) -> None:
        close_incident(self.store, incident_id, why)

    def merge_incidents(self, into: str, taken: Sequence[str]) -> None:
        merge_incidents(self.store, into, taken)

    def split_incident(self, incident_id: str, episodes: Sequence[str]) -> str:
        return split_incident(self.store, incident_id, episodes, "split-off")

    def reload(self) -> Reloaded:
        raise ConfigError([Mistake("rules.0", "wrong", 3), Mistake("sinks.0", "wrong too", 9)])

    def run_sql(self, question: Question, *, who: str | None, client: int | None) -> QueryAnswer:
        limits = Limits.of(self.settings.sql, rows=question.limit)
        with self.queries.worker(who) as worker, self.snapshots.newest(fresh=question.fresh) as snapshot:
            return worker.ask(question, snapshot, limits, client=client)

    def ready_problems(self) -> list[str]:
        return self.problems


class Answer:
    """Status, headers and body of one answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


class Serving:
    """What tests ask. Every request has a connection of its own unless they make one."""

    def __init__(self, service: SmallService, server: HttpServer) -> None:
        self.service = service
        self.store = service.store
        self.server = server
        self.host, self.port = server.address

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=20)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A dictionary is sent as JSON; `Content_Type="…"` is the header Content-Type."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.connect()
        try:
            connection.request(method, path, body, named)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)


@contextmanager
def serving(store: Store, settings: Settings | None = None, **limits: float) -> Iterator[Serving]:
    """On a free loopback port, whatever *settings* say about that; *limits* are those of HttpServer."""
    chosen = settings or Settings(sql=SqlSettings(workers=1))
    server_settings = chosen.server.model_copy(update={"listen": "127.0.0.1:0"})
    chosen = chosen.model_copy(update={"server": server_settings})
    service = SmallService(store, chosen)
    server = HttpServer(create_app(service, chosen), chosen, **limits)
    server.start()
    try:
        yield Serving(service, server)
    finally:
        server.stop()
        service.queries.close()
        service.snapshots.close()


def data(*parts: str) -> Path:
    return Path(__file__).parent.joinpath("data", *parts)
