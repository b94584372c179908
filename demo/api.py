"""The HTTP API of a running diagnose, as the demo uses it (docs/reference/http.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from demo.errors import StoryError

TIMEOUT_S = 30


class Api:
    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def incidents(self, service: str | None = None) -> list[dict[str, Any]]:
        """Newest first."""
        query = f"?service={service}" if service else ""
        found: list[dict[str, Any]] = self._get(f"/api/v1/incidents{query}").json()["incidents"]
        return found

    def incident(self, incident_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._get(f"/api/v1/incidents/{incident_id}").json()
        return found

    def report(self, incident_id: str) -> dict[str, Any] | None:
        """report.json of the newest revision, or None before the first."""
        answer = self._get(f"/api/v1/incidents/{incident_id}/report.json", missing_is_fine=True)
        return answer.json() if answer.ok else None

    def download(self, incident_id: str, name: str, into: Path) -> None:
        """`report.html`, `report.md`, `report.json` or `incident.duckdb`, into a file."""
        into.write_bytes(self._get(f"/api/v1/incidents/{incident_id}/{name}").content)

    def sql(self, sql: str, **params: object) -> list[list[Any]]:
        """Rows of a query over the views; they may be five seconds old."""
        answer = self._session.post(f"{self.url}/api/v1/sql", json={"sql": sql, "params": params}, timeout=TIMEOUT_S)
        rows: list[list[Any]] = self._checked(answer).json()["rows"]
        return rows

    def _get(self, path: str, *, missing_is_fine: bool = False) -> requests.Response:
        answer = self._session.get(self.url + path, timeout=TIMEOUT_S)
        if missing_is_fine and answer.status_code == requests.codes.not_found:
            return answer
        return self._checked(answer)

    @staticmethod
    def _checked(answer: requests.Response) -> requests.Response:
        if not answer.ok:
            raise StoryError(f"{answer.request.method} {answer.url} gave {answer.status_code}: {answer.text[:500]}")
        return answer

    def close(self) -> None:
        self._session.close()
