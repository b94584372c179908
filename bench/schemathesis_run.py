"""
Everything that fits /openapi.json, and much that does not, asked of the real service; every answer held against it.

    python -m bench.schemathesis_run [--examples 200]

Starts the service itself. A 5xx other than a 503 that says when to come back, an undescribed status, content type or
shape is an error. Exit code 1 with the request that shows it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service_process import ServiceProcess

CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
SHOWN = 20_000  # characters of the log, when something is found
EXPECTED_5XX = (503, 504)


@schemathesis.serializer("application/x-protobuf")
def _as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


def ask_everything(url: str, chosen: hypothesis_settings) -> int:
    """How many operations were asked. Raises what the first wrong answer of an operation raises."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    count = 0
    for result in schema.get_all_operations():
        _ask(result.ok(), chosen)
        count += 1
    return count


def _ask(operation: Any, chosen: hypothesis_settings) -> None:
    @chosen
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call(timeout=60)
        checks = CHECKS if response.status_code in EXPECTED_5XX else (*CHECKS, not_a_server_error)
        case.validate_response(response, checks=checks)

    check()


@click.command(help=__doc__)
@click.option("--examples", default=200, help="Requests for every operation.")
def main(examples: int) -> None:
    chosen = hypothesis_settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    with tempfile.TemporaryDirectory() as folder, ServiceProcess(Path(folder)) as service:
        try:
            count = ask_everything(service.url, chosen)
        except Exception:
            print(Path(folder, "service.log").read_text(encoding="utf-8")[-SHOWN:])
            raise
        service.kill()  # the investigations it began are not waited for
    print(f"{count} operations, {examples} requests each: all answered as described")


if __name__ == "__main__":
    main()
