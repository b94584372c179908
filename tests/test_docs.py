"""The documents name what there is, and what they name is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from diagnose.cli import reference

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"), ROOT / "target/FAULTS.md"])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path):
    links = [link for link in LINK.findall(page.read_text()) if not link.startswith(("http://", "https://", "mailto:"))]

    assert [] == [link for link in links if not (page.parent / link).exists()]


def test_every_make_target_a_page_names_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`?make ([a-z][a-z0-9-]*)\b", _code(page))}

    assert named
    assert set() == named - targets


def _code(page: Path) -> str:
    """What stands in backticks and in code blocks."""
    text = page.read_text()
    return "\n".join([*re.findall(r"```\w*\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)])


def test_make_help_lists_the_targets():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for target in ("install", "demo", "test", "check", "docs", "golden", "proto"):
        assert re.search(rf"\b{target}\b", shown), target


def test_every_endpoint_and_metric_says_what_it_is():
    for text in (reference.http_reference(), reference.metrics_reference()):
        rows = re.findall(r"^\| .*\| .*$", text, re.MULTILINE)[1:]

        assert rows
        assert [] == [row for row in rows if re.search(r"\|\s*\|$", row)]
