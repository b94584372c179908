"""/openapi.json against the routes, and the real server against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from bench.schemathesis_run import ask_everything
from diagnose.config import Settings
from diagnose.store.db import Store
from diagnose.web.openapi import describe, path_of
from diagnose.web.openapi_shapes import ANSWERS, BODIES, PARAMETERS, QUERY
from tests.service_process import ServiceProcess
from tests.serving import Serving, serving

SOURCES = Path(__file__).parents[1] / "diagnose" / "web"
ARGUMENT = re.compile(r"""\b(?:text|required|int|choice|bool|time)_arg\(f?"(?:\{prefix\})?(\w+)""")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store, Settings()) as running:
        yield running


def test_every_route_is_described_with_its_methods_and_nothing_else_is(web):
    described = {
        (path, method) for path, methods in web.get("/openapi.json").json["paths"].items() for method in methods
    }
    routes = {
        (path_of(rule), method.lower())
        for rule in web.server.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert routes == described


def test_the_tables_name_endpoints_that_exist(web):
    known = set(web.server.app.view_functions)

    assert {*QUERY, *BODIES, *ANSWERS} <= known


def test_every_query_parameter_that_is_read_is_described():
    for source in SOURCES.glob("*.py"):
        read = set(ARGUMENT.findall(source.read_text(encoding="utf-8")))
        told = {
            told_name
            for endpoint, names in QUERY.items()
            for name in names.replace("!", "").split()
            for told_name in (name, name.removeprefix("base_"))
            if endpoint.startswith(f"{source.stem}.")
        }
        assert read <= told | ({"name"} if source.stem == "arguments" else set()), source.name


def test_no_parameter_is_described_that_no_endpoint_has():
    assert set(PARAMETERS) <= {name.rstrip("!") for names in QUERY.values() for name in names.split()}


def test_every_operation_says_what_it_does_and_who_may(web):
    for path, methods in describe(web.server.app)["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert "Role: " in operation["description"]


def test_whatever_fits_the_description_is_answered_as_it_says(tmp_path):
    chosen = hypothesis_settings(
        max_examples=2, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    with ServiceProcess(tmp_path) as service:
        assert ask_everything(service.url, chosen) > 30
        assert service.get("/healthz")
        service.kill()  # the investigations it began are not waited for
