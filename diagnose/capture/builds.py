"""Which build a process runs, from the smallest profile there is."""

from __future__ import annotations

import threading

from diagnose.capture.fetch import Connection, fetch
from diagnose.errors import CaptureError
from diagnose.kinds import ProfileKind
from diagnose.model import Target, utc_now
from diagnose.store.builds import Build, see_build
from diagnose.store.db import Store

# A few hundred bytes and no pause of the program; its mapping names the binary as that of every profile does.
SMALLEST = ProfileKind("threadcreate", "threadcreate", "threadcreate", "since_start")


def look_at_build(store: Store, target: Target, stop: threading.Event) -> Build | None:
    """
    Ask *target* for its build and note it; the build it ran before, when it runs another one now.

    None also when the process does not answer: that is for the captures to say.
    """
    try:
        with Connection(target, interrupted=stop.is_set) as connection:
            build_id = fetch(connection, SMALLEST).profile.build_id
    except CaptureError:
        return None
    return see_build(store, target.service, target.instance, build_id, utc_now())
