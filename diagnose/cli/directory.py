"""Reading commands without a server: the files of the data directory, opened for reading."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diagnose.config import Settings
from diagnose.errors import DecodeError
from diagnose.query.child import Child
from diagnose.query.question import Limits, Question
from diagnose.query.saved import spelled_out
from diagnose.store.db import Store
from diagnose.store.decisions import explained
from diagnose.store.export import export_incident
from diagnose.store.incidents import incident_detail, list_incidents
from diagnose.store.profiles import profile_body
from diagnose.store.reports import get_report
from diagnose.store.snapshots import write_snapshot
from diagnose.web.arguments import parse_time

REPORT_COLUMNS = {"html": "html", "md": "markdown", "json": "json"}


class DirectoryReader:
    """Opens the files for reading. Raises StoreError when a server has them open after all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = Store.open(settings.store.path, read_only=True)

    def close(self) -> None:
        self._store.close()

    def incidents(
        self, *, status: str | None, service: str | None, since: str | None, limit: int
    ) -> list[dict[str, Any]]:
        try:
            earliest = parse_time(since) if since else None
        except ValueError as err:
            raise DecodeError(f"--since: {err}", field="since") from err
        found, _ = list_incidents(self._store, status=status, service=service, since=earliest, limit=limit)
        return found

    def incident(self, incident_id: str) -> dict[str, Any]:
        return incident_detail(self._store, incident_id)

    def explain(self, incident_id: str) -> dict[str, Any]:
        return explained(self._store, incident_id)

    def report(self, incident_id: str, form: str, revision: int | None) -> bytes:
        found: str = get_report(self._store, incident_id, revision=revision)[REPORT_COLUMNS[form]]
        return found.encode()

    def export(self, incident_id: str, file: Path) -> None:
        export_incident(self._store, incident_id, file)

    def profile(self, profile_id: str) -> bytes:
        return profile_body(self._store, profile_id)

    def sql(self, question: Question) -> bytes:
        limits = Limits.of(self._settings.sql, rows=question.limit)
        asked = spelled_out(question)
        with TemporaryDirectory() as folder:
            snapshot = write_snapshot(self._store, Path(folder))
            child = Child()
            try:
                return child.ask(asked, snapshot, limits).body
            finally:
                child.kill()
