"""
What becomes of fetched profiles: stored as they are, and what grew between two snapshots as a profile of its own.

    kind                first                 again
    goroutine           snapshot              snapshot
    heap                snapshot              snapshot, and the growth in between (interval)
    mutex block allocs  since_start           the growth in between (interval) in place of the second sum
    cpu wall            interval
    trace               a file
"""

from __future__ import annotations

from diagnose.capture.fetch import Fetched
from diagnose.capture.ledger import Ledger, Step
from diagnose.capture.wall import Polled
from diagnose.errors import CaptureError, DecodeError
from diagnose.kinds import PROFILE_KINDS, Basis, ProfileKind
from diagnose.model import Target, utc_now
from diagnose.pprof.parse import Parsed
from diagnose.pprof.pool import SHARED as PARSERS
from diagnose.store.artefacts import save_artefact
from diagnose.store.builds import see_build
from diagnose.store.db import Store
from diagnose.store.profiles import save_profile

NO_COLLECTION = "no garbage collection in between: the heap profile is the same"


class Evidence:
    """Stores the profiles of one round on one process and writes their outcome into its ledger."""

    def __init__(self, store: Store, target: Target, ledger: Ledger) -> None:
        self._store = store
        self._target = target
        self._ledger = ledger
        self._first: dict[str, Fetched] = {}

    def keep(self, step: Step, fetched: Fetched, reason: str = "") -> None:
        """Store one fetched profile; its row is `done` after the commit."""
        name, phase = step
        kind = PROFILE_KINDS[name]
        if phase == "first":
            if not self._first:
                self._note_build(fetched.profile.build_id)
            self._first[name] = fetched
        if phase == "again" and kind.grows:
            self._keep_growth(step, kind, fetched)
            return
        reason = reason or (kind.when_empty if fetched.profile.is_empty else "")
        self._done(step, fetched.profile, fetched.body, kind.basis, reason)

    def _note_build(self, build_id: str) -> None:
        see_build(self._store, self._target.service, self._target.instance, build_id, utc_now())

    def _keep_growth(self, step: Step, kind: ProfileKind, fetched: Fetched) -> None:
        first = self._first.get(kind.name)
        if first is None:
            reason = "there is no first snapshot to compare with"
            self._done(step, fetched.profile, fetched.body, kind.basis, reason)
            return
        try:
            growth, body = grown(first.body, fetched.body)
        except CaptureError as err:
            self._ledger.failed(step, err)
            return
        if kind.basis == "snapshot":
            self._save(step, growth, body, "interval")
            reason = NO_COLLECTION if growth.is_empty else ""
            self._done(step, fetched.profile, fetched.body, kind.basis, reason)
        else:
            self._done(step, growth, body, "interval", "nothing new in that time" if growth.is_empty else "")

    def keep_wall(self, step: Step, polled: Polled) -> None:
        wall = polled.wall
        self._done(step, wall.profile, wall.body, "interval", str(polled), size_bytes=polled.bytes)

    def keep_trace(self, step: Step, body: bytes) -> None:
        """An execution trace is a file beside the database."""
        file = save_artefact(self._store, self._ledger.capture_id(step), body)
        self._ledger.done(step, profile_id=None, size_bytes=len(body), reason=f"kept as {file.parent.name}/{file.name}")

    def _done(
        self, step: Step, profile: Parsed, body: bytes, basis: Basis, reason: str, *, size_bytes: int | None = None
    ) -> None:
        profile_id = self._save(step, profile, body, basis)
        size = len(body) if size_bytes is None else size_bytes
        self._ledger.done(step, profile_id=profile_id, size_bytes=size, reason=reason)

    def _save(self, step: Step, profile: Parsed, body: bytes, basis: Basis) -> str:
        stored = save_profile(
            self._store,
            profile,
            body,
            service=self._target.service,
            instance=self._target.instance,
            kind=step[0],
            basis=basis,
            capture_id=self._ledger.capture_id(step),
        )
        return stored.profile_id


def grown(first: bytes, again: bytes) -> tuple[Parsed, bytes]:
    """
    What happened between two snapshots of one process, and the same as a pprof file.

    Raises CaptureError when the sums have become smaller: then another process answers at that address.
    """
    try:
        growth, body = PARSERS.subtract(again, first)
    except DecodeError as err:
        raise CaptureError(f"the two snapshots do not belong together: {err}") from err
    for value_type, total in zip(growth.value_types, growth.totals, strict=True):
        if not value_type.type.startswith("inuse") and total < 0:
            raise CaptureError("the process restarted between the two snapshots")
    return growth, body
