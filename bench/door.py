"""
The door of the service alone, in a process of its own: HTTP, checks, decoding and the store, nothing that works later.

    python -m bench.door nothing|single|together FOLDER

`nothing` decodes a message and forgets it, `single` gives every message a commit of its own, `together` is what the
service does. Prints its port, ends with its standard input.
"""

from __future__ import annotations

import sys
from pathlib import Path

from diagnose.app import SWITCH_INTERVAL_S
from diagnose.config import Settings
from diagnose.model import Accepted, AlertGroup
from diagnose.store import writer
from diagnose.store.db import Store
from tests import serving


class Forgetful(serving.SmallService):
    def accept_alerts(self, group: AlertGroup) -> Accepted:
        return Accepted(len(group.alerts), 0, ())


def main() -> None:
    mode, folder = sys.argv[1:]
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if mode == "nothing":
        serving.SmallService = Forgetful  # type: ignore[misc]
    if mode == "single":
        writer.MAX_GROUP_JOBS = 1
    with Store.open(Path(folder)) as store, serving.serving(store, Settings()) as running:
        print(running.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
