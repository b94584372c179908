"""The faults the demo can plant are those the sample system has, and it knows a right answer from a wrong one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from demo.faults import FAULTS, Fault, find_fault
from demo.render import SHOP
from demo.tools import ROOT

SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "target").rglob("*.go")))


def finding(kind: str, name: str) -> dict[str, Any]:
    return {"kind": kind, "subject": {"type": "function", "name": name}}


def test_the_sample_system_has_every_fault() -> None:
    assert FAULTS.keys() <= set(re.findall(r'faults\.Fault\{Name: "([a-z-]+)"', SOURCES))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_a_fault_is_planted_where_it_lives_and_expected_by_its_name(fault: Fault) -> None:
    functions = [subject.removeprefix(".") for subject in fault.subjects if subject.startswith(".")]

    assert fault.service in {service for service, _ in SHOP}
    assert set(fault.instances) <= {name for _, name in SHOP}
    assert all(re.search(rf"func (\([^)]*\) )?{function}\(", SOURCES) for function in functions)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (finding("hot_code", "diagnose.example/target/internal/shop.(*PriceMatcher).compareEveryPair"), True),
        (finding("hot_code", "diagnose.example/target/internal/shop.(*PriceMatcher).Match"), False),
        (finding("memory", "diagnose.example/target/internal/shop.(*PriceMatcher).compareEveryPair"), False),
        (None, False),
    ],
)
def test_the_first_finding_has_to_name_the_function_for_the_right_reason(
    said: dict[str, Any] | None, right: bool
) -> None:
    assert right == FAULTS["cpu"].named_by(said)


def test_none_is_the_healthy_run() -> None:
    assert find_fault("none") is None
    assert "cpu" == getattr(find_fault("cpu"), "name", None)


def test_make_help_lists_the_faults_there_are() -> None:
    assert f"FAULT={'|'.join([*FAULTS, 'none'])} " in (ROOT / "Makefile").read_text()
