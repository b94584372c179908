"""Where reading commands read: a running server here, or its data directory (directory.py) while none runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from diagnose.cli.api import Api


class Reader(Protocol):
    """All answers in the shapes of the HTTP API."""

    def close(self) -> None: ...

    def incidents(
        self, *, status: str | None, service: str | None, since: str | None, limit: int
    ) -> list[dict[str, Any]]: ...
    def incident(self, incident_id: str) -> dict[str, Any]: ...
    def report(self, incident_id: str, form: str, revision: int | None) -> bytes: ...
    def export(self, incident_id: str, file: Path) -> None: ...
    def profile(self, profile_id: str) -> bytes: ...
    def sql(self, text: str, params: Mapping[str, Any], form: str, limit: int | None) -> bytes: ...


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

    def report(self, incident_id: str, form: str, revision: int | None) -> bytes:
        return self._api.get_bytes(f"/api/v1/incidents/{_quoted(incident_id)}/report.{form}", {"revision": revision})

    def export(self, incident_id: str, file: Path) -> None:
        self._api.download(f"/api/v1/incidents/{_quoted(incident_id)}/incident.duckdb", file)

    def profile(self, profile_id: str) -> bytes:
        return self._api.get_bytes(f"/api/v1/profiles/{_quoted(profile_id)}")

    def sql(self, text: str, params: Mapping[str, Any], form: str, limit: int | None) -> bytes:
        asked = {"sql": text, "params": dict(params), "format": form, "limit": limit}
        return self._api.post_for_bytes("/api/v1/sql", asked)


def _quoted(name: str) -> str:
    return quote(name, safe="")
