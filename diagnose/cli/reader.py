"""Where reading commands read: a running server here, or its data directory (directory.py) while none runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from diagnose.cli.api import Api
from diagnose.query.question import Question


class Reader(Protocol):
    """All answers in the shapes of the HTTP API."""

    def close(self) -> None: ...

    def incidents(
        self, *, status: str | None, service: str | None, since: str | None, limit: int
    ) -> list[dict[str, Any]]: ...
    def incident(self, incident_id: str) -> dict[str, Any]: ...
    def explain(self, incident_id: str) -> dict[str, Any]: ...
    def report(self, incident_id: str, form: str, revision: int | None) -> bytes: ...
    def export(self, incident_id: str, file: Path) -> None: ...
    def profile(self, profile_id: str) -> bytes: ...
    def sql(self, question: Question) -> bytes: ...


class HttpReader:
    def __init__(self, api: Api) -> None:
        self._api = api

    def close(self) -> None:
        """Nothing is open."""

    def incidents(
        self, *, status: str | None, service: str | None, since: str | None, limit: int
    ) -> list[dict[str, Any]]:
        asked = {"status": status, "service": service, "since": since, "limit": limit}
        found: list[dict[str, Any]] = self._api.get_json("/api/v1/incidents", asked)["incidents"]
        return found

    def incident(self, incident_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get_json(f"/api/v1/incidents/{_quoted(incident_id)}")
        return found

    def explain(self, incident_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get_json(f"/api/v1/incidents/{_quoted(incident_id)}/explain")
        return found

    def report(self, incident_id: str, form: str, revision: int | None) -> bytes:
        return self._api.get_bytes(f"/api/v1/incidents/{_quoted(incident_id)}/report.{form}", {"revision": revision})

    def export(self, incident_id: str, file: Path) -> None:
        self._api.download(f"/api/v1/incidents/{_quoted(incident_id)}/incident.duckdb", file)

    def profile(self, profile_id: str) -> bytes:
        return self._api.get_bytes(f"/api/v1/profiles/{_quoted(profile_id)}")

    def sql(self, question: Question) -> bytes:
        asked = {
            "sql": question.sql if question.saved is None else None,
            "saved": question.saved,
            "params": dict(question.params),
            "format": question.form,
            "limit": question.limit,
            "fresh": question.fresh,
        }
        return self._api.post_for_bytes("/api/v1/sql", asked)


def _quoted(name: str) -> str:
    return quote(name, safe="")
