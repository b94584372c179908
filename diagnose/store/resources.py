"""Resources: what telemetry came from. Each distinct set of attributes once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from diagnose.pprof.hashing import hash64
from diagnose.store.arrow import TEXT_MAP, TIME, insert_new, table_of

Texts = Mapping[str, str | None]
UNKNOWN_SERVICE = "unknown_service"

RESOURCES = pa.schema(
    [
        ("resource_id", pa.int64()),
        ("service_name", pa.string()),
        ("service_namespace", pa.string()),
        ("service_instance_id", pa.string()),
        ("service_version", pa.string()),
        ("deployment_environment_name", pa.string()),
        ("attributes", TEXT_MAP),
        ("first_seen", TIME),
    ]
)


@dataclass(frozen=True)
class Resource:
    """The attributes of one process, as text."""

    resource_id: int
    attributes: Texts

    def attribute(self, *names: str) -> str:
        """The first of *names* that is set and not empty, else an empty text."""
        return next((value for name in names if (value := self.attributes.get(name))), "")

    @property
    def service_name(self) -> str:
        return self.attribute("service.name") or UNKNOWN_SERVICE

    @property
    def service_instance_id(self) -> str:
        return self.attribute("service.instance.id")


def resource_of(attributes: Texts) -> Resource:
    return Resource(content_id(sorted(attributes.items())), attributes)


def content_id(content: object) -> int:
    """A 63-bit hash of anything JSON can write: the same in every process and version."""
    return hash64(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode())


def resource_table(resources: Iterable[Resource], seen_at: datetime) -> pa.Table:
    """The rows of table `resource`, one per distinct id."""
    rows = [
        (
            each.resource_id,
            each.service_name,
            each.attribute("service.namespace"),
            each.service_instance_id,
            each.attribute("service.version"),
            each.attribute("deployment.environment.name", "deployment.environment"),
            list(each.attributes.items()),
            seen_at,
        )
        for each in {each.resource_id: each for each in resources}.values()
    ]
    return table_of(rows, RESOURCES)


def insert_resources(cursor: duckdb.DuckDBPyConnection, resources: pa.Table) -> None:
    """Those that are not there yet."""
    insert_new(cursor, "resource", resources, key="resource_id")
