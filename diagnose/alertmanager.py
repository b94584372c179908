"""
What is asked of an Alertmanager: the alerts it has now, and since when it runs.

Source: prometheus/alertmanager api/v2/openapi.yaml, `gettableAlerts` and `alertmanagerStatus`, the same from 0.25 to
0.34. It lists what fires, silenced or not; an alert that has ended is gone from the list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from diagnose.config import AlertmanagerServer
from diagnose.errors import UpstreamError
from diagnose.model import Labels
from diagnose.text import clean
from diagnose.upstream import Upstream

Answer = TypeVar("Answer")
Suppressed = Literal["silenced", "inhibited", "muted"]


@dataclass(frozen=True)
class ListedAlert:
    """One firing alert; `suppressed` says why nobody is notified of it, None when they are."""

    fingerprint: str
    labels: Labels
    annotations: Labels
    starts_at: datetime
    generator_url: str
    receivers: tuple[str, ...]
    suppressed: Suppressed | None


class Alertmanager:
    """One server. Each call asks once and waits at most *timeout_s*; a failure is an UpstreamError that names it."""

    def __init__(self, server: AlertmanagerServer, timeout_s: float = 5.0) -> None:
        self.server = server
        self.timeout_s = timeout_s
        self.name = urlsplit(server.url).netloc.rpartition("@")[2]
        self._upstream = Upstream(server, server.url, f"Alertmanager {self.name}")

    def alerts(self) -> list[ListedAlert]:
        """All that fires there, for every receiver."""
        return self._get("/api/v2/alerts", _alerts)

    def started_at(self) -> datetime:
        """Alerts are not kept over a restart: right after it the list is empty until Prometheus sends them again."""
        return self._get("/api/v2/status", lambda status: _time(status["uptime"]))

    def _get(self, path: str, read: Callable[[Any], Answer]) -> Answer:
        answered = self._upstream.ask(path, {}, timeout_s=self.timeout_s)
        if answered.status != 200:
            raise UpstreamError(f"{self._upstream.name} answered HTTP {answered.status} to {path}")
        try:
            return read(json.loads(answered.body))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise UpstreamError(f"{self._upstream.name}: the answer of {path} has an unknown shape") from err


def _alerts(found: Any) -> list[ListedAlert]:
    if not isinstance(found, list):
        raise TypeError("no list")  # an object would pass for an empty one
    return [_alert(each) for each in found]


def _alert(found: Mapping[str, Any]) -> ListedAlert:
    return ListedAlert(
        fingerprint=found["fingerprint"],
        labels=_clean(found["labels"]),
        annotations=_clean(found.get("annotations") or {}),
        starts_at=_time(found["startsAt"]),
        generator_url=found.get("generatorURL") or "",
        receivers=tuple(receiver["name"] for receiver in found["receivers"]),
        suppressed=_suppressed(found["status"]),
    )


def _clean(labels: Labels) -> Labels:
    return {clean(name): clean(value) for name, value in labels.items()}


def _suppressed(status: Mapping[str, Any]) -> Suppressed | None:
    if status["state"] != "suppressed":
        return None
    if status.get("silencedBy"):
        return "silenced"
    return "inhibited" if status.get("inhibitedBy") else "muted"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
