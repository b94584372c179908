"""docs/tutorial.md as something that can be run: its commands, and the steps and the verdict of its transcript."""

from __future__ import annotations

import re

from demo.tools import ROOT

PAGE = ROOT / "docs/tutorial.md"


def commands() -> list[str]:
    """What a reader types at `.venv/bin/…`, in their order; a here-document is one command."""
    typed = [block for block in _blocks() if block.startswith(".venv/bin/")]
    return [command for block in typed for command in ([block] if "<<" in block else block.splitlines())]


def steps() -> list[str]:
    """The first column of the table in the transcript, figures left out."""
    return [figureless(step.strip()) for step in re.findall(r"^│ (.+?) │", _transcript(), re.MULTILINE)]


def verdict() -> str:
    """The sentence below that table."""
    return re.findall(r"^[^│\n].*$", _transcript(), re.MULTILINE)[1]


def figureless(text: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", text)


def _transcript() -> str:
    return next(block for block in _blocks() if block.startswith("starting the stack"))


def _blocks() -> list[str]:
    return [block.strip() for block in re.findall(r"^```\w*\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)]
