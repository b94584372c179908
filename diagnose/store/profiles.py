"""
Profiles: the bytes as they came, and the samples in the layout of migrations/telemetry.

A profile is known by its content, its process and its basis; storing it again changes nothing.
"""

from __future__ import annotations

import gzip
from datetime import datetime
from hashlib import sha256
from typing import Any

from diagnose.errors import NotFound, StacksUnknown
from diagnose.kinds import PROFILE_KINDS, Basis
from diagnose.model import Labels, from_unix_ns, utc_now
from diagnose.pprof.parse import Parsed, lay_out, parse
from diagnose.pprof.pool import ParserPool
from diagnose.pprof.profile import Profile
from diagnose.pprof.redaction import redacted
from diagnose.store.bodies import read_body, save_body
from diagnose.store.db import Store
from diagnose.store.profile_batch import NewProfile, StoredProfile, weight_units
from diagnose.store.queries import load_queries
from diagnose.store.redaction import has_secret_labels
from diagnose.store.rows import as_map
from diagnose.telemetry import INGESTED

QUERIES = load_queries("profiles")
GZIP_MAGIC = b"\x1f\x8b"
WAIT_S = 30.0
GATHER_S = 0.004  # when many come, two share the statements; waiting for more would leave the parsers idle


def save_profile(
    store: Store,
    profile: Parsed | Profile,
    body: bytes,
    *,
    service: str,
    instance: str,
    kind: str,
    basis: Basis,
    capture_id: str | None = None,
    labels: Labels | None = None,
) -> StoredProfile:
    """
    Store *profile* and the *body* it was read from; returns after the commit.

    The same body of the same service, instance and basis is stored once: the second time gives the first one's id. A
    body that is not gzipped is kept gzipped. Raises StoreBusy.
    """
    parsed = profile if isinstance(profile, Parsed) else lay_out(profile)
    if has_secret_labels(parsed.columns, store.redactor):
        body = redacted(body, store.redactor)
        parsed = parse(body)
    gzipped = body if body.startswith(GZIP_MAGIC) else gzip.compress(body, mtime=0)
    digest = sha256(body).hexdigest()
    save_body(store.path, digest, gzipped)
    row = {
        "service_name": service,
        "service_instance_id": instance,
        "kind": kind,
        "basis": basis,
        "capture_id": capture_id,
        "labels": as_map(store.redactor.labels(labels or {})),
        "sha256": digest,
        "bytes": len(gzipped),
        "sample_count": parsed.columns.samples.num_rows,
        "weight_units": weight_units(parsed.columns.weights, len(parsed.value_types)),
        **_head(parsed),
    }
    new = NewProfile(row, parsed.columns)
    stored = store.telemetry.run_together(
        store.profile_tables.add, new, size_bytes=new.size_bytes, wait_s=WAIT_S, gather_s=GATHER_S
    )
    if not stored.duplicate:
        INGESTED.labels(table="sample").inc(parsed.columns.samples.num_rows)
    return stored


def read_and_import(
    store: Store, parsers: ParserPool, body: bytes, *, service: str, instance: str, kind: str | None, labels: Labels
) -> StoredProfile:
    """As `import_profile`, read by *parsers*, which need not spell out again what is stored. Raises DecodeError too."""

    def imported(*, whole: bool) -> StoredProfile:
        parsed = parsers.parse(body, whole=whole)
        return import_profile(store, parsed, body, service=service, instance=instance, kind=kind, labels=labels)

    try:
        return imported(whole=False)
    except StacksUnknown:  # another profile was to bring them, and was not stored
        return imported(whole=True)


def import_profile(
    store: Store, parsed: Parsed, body: bytes, *, service: str, instance: str, kind: str | None, labels: Labels
) -> StoredProfile:
    """A profile that was not captured; of which *kind* it is, and so its basis, is guessed when nobody says."""
    kind = kind or parsed.kind
    basis = PROFILE_KINDS[kind].basis if kind in PROFILE_KINDS else "snapshot"
    return save_profile(store, parsed, body, service=service, instance=instance, kind=kind, basis=basis, labels=labels)


def _head(parsed: Parsed) -> dict[str, Any]:
    """What the file says about itself; a file without a time is from now."""
    return {
        "started_at": from_unix_ns(parsed.time_ns) if parsed.time_ns > 0 else utc_now(),
        "duration_ns": max(0, parsed.duration_ns),
        "build_id": parsed.build_id,
        "value_types": [{"type": each.type, "unit": each.unit} for each in parsed.value_types],
        "default_value": parsed.default_value + 1,
        "period": parsed.period,
    }


def profile_body(store: Store, profile_id: str) -> bytes:
    """The gzipped pprof file. Raises NotFound."""
    found = store.rows(QUERIES["hash_of_profile"], {"profile_id": profile_id})
    if not found:
        raise NotFound(f"no profile {profile_id!r}")
    return read_body(store.path, found[0]["sha256"])


def get_profile(store: Store, profile_id: str) -> dict[str, Any]:
    """
    All about one profile but its samples and bytes: the columns of view `profiles`.

    Raises NotFound.
    """
    found = store.rows(QUERIES["get_profile"], {"profile_id": profile_id})
    if not found:
        raise NotFound(f"no profile {profile_id!r}")
    return found[0]


def find_profiles(
    store: Store,
    *,
    service: str | None = None,
    instance: str | None = None,
    kind: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    labels: Labels | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Profiles as `get_profile` gives them, newest first, that started in [since, until) and have all *labels*."""
    params = {
        "service": service,
        "instance": instance,
        "kind": kind,
        "since": since,
        "until": until,
        "labels": as_map(labels or {}),
        "limit": limit,
    }
    return store.rows(QUERIES["find_profiles"], params)


def labelled_traces(store: Store, incident_id: str, limit: int) -> list[dict[str, Any]]:
    """Traces (trace_id, kind, samples) that the profiles of an incident name, those with the most samples first."""
    return store.rows(QUERIES["labelled_traces"], {"incident_id": incident_id, "limit": limit})
