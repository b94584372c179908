"""For what happens in another thread or process without telling anybody."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30.0


def wait_until(holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "this did not come true in time"
        time.sleep(0.02)
