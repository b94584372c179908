"""The real programs, found or built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.tools import DEMO_PROGRAMS, Tools


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    return Tools().locate(DEMO_PROGRAMS)
