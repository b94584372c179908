"""
What docker-compose.yml mounts: the templates with the values of containers, and the alert rules with minutes of one.

    python -m demo.compose    write compose/ again
"""

from __future__ import annotations

from pathlib import Path

from demo.render import compose_values, render
from demo.rules import COMPOSE, render_rules
from demo.tools import ROOT

FOLDER = ROOT / "compose"
MADE = "# Rendered by `python -m demo.compose`; change demo/templates, demo/render.py or demo/rules.py instead.\n"


def files() -> dict[str, str]:
    """Path below compose/ → text."""
    rules = {f"rules/{name}": text for name, text in render_rules(COMPOSE).items()}
    return {name: MADE + text for name, text in {**render(compose_values()), **rules}.items()}


def write(folder: Path = FOLDER) -> None:
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
