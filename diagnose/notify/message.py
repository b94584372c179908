"""What a sink gets: one revision of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diagnose.model import Delivery

NO_CAUSE = "No cause found yet."


@dataclass(frozen=True)
class Message:
    """
    `incident_id` and `revision` together never change their meaning: use them as idempotency key, a crash right after a
    delivery makes it come twice. `external_ref` is what the sink returned for an earlier revision of the incident, to
    edit that instead of adding to it. `url` is where people find the incident; `json` is report.json.
    """

    incident_id: str
    revision: int
    reason: str
    created_at: datetime
    status: str
    title: str
    summary: str
    url: str
    html: str
    markdown: str
    json: str
    external_ref: str | None = None


def message_of(report: Mapping[str, Any], delivery: Delivery) -> Message:
    """The message of a `delivery` row; *report* as store.reports.get_report returns it."""
    content = json.loads(report["json"])
    verdict = content.get("verdict")
    return Message(
        incident_id=delivery.incident_id,
        revision=delivery.revision,
        reason=report["reason"],
        created_at=report["created_at"],
        status=content["incident"]["status"],
        title=content["incident"]["title"],
        summary=verdict["statement"].replace("`", "") if verdict else NO_CAUSE,
        url=content["url"],
        html=report["html"],
        markdown=report["markdown"],
        json=report["json"],
        external_ref=delivery.external_ref,
    )
