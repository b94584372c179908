"""
Profiles that wait for the writer at the same time go in together: one look at the dictionaries, one insert per table.

Whether a profile is stored is asked of the database, so that the writer may roll a batch back and store each profile by
itself; only of those whose hash was never seen it is known without asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from diagnose.pprof.columns import ProfileColumns
from diagnose.pprof.wire import MAX_VALUE_TYPES
from diagnose.store.arrow import append
from diagnose.store.dictionary import Dictionaries
from diagnose.store.queries import load_queries
from diagnose.store.rows import insert

QUERIES = load_queries("profiles")
WEIGHTS_OF_A_PROFILE = MAX_VALUE_TYPES  # as macro weight_no counts them
WEIGHTS = ("weight_no", "stack_no", "value", "observations")
IDENTITY = ("sha256", "service_name", "service_instance_id", "basis")


@dataclass(frozen=True)
class StoredProfile:
    """`duplicate`: it was there already."""

    profile_id: str
    duplicate: bool


Identity = tuple[str, ...]


@dataclass(frozen=True)
class NewProfile:
    """A row of table `profile` without its number and id, and its samples."""

    row: dict[str, Any]
    columns: ProfileColumns

    @property
    def identity(self) -> Identity:
        return tuple(self.row[name] for name in IDENTITY)

    @property
    def size_bytes(self) -> int:
        return self.columns.nbytes


class ProfileTables:
    """How profiles get into their tables."""

    def __init__(self) -> None:
        self._dictionaries = Dictionaries()
        self._seen: set[str] | None = None  # the hashes of all that is stored, and maybe of more

    def add(self, cursor: duckdb.DuckDBPyConnection, profiles: Sequence[NewProfile]) -> list[StoredProfile]:
        """One answer for each; of several equal ones the first is stored. For `Writer.run_together`."""
        ids = self._stored(cursor, profiles)
        new: dict[Identity, NewProfile] = {}
        for profile in profiles:
            if profile.identity not in ids:
                new.setdefault(profile.identity, profile)
        for identity, profile in new.items():
            ids[identity] = _free_id(profile, set(ids.values()))
        if new:
            self._insert(cursor, list(new.values()), [ids[identity] for identity in new])
        return [StoredProfile(ids[each.identity], duplicate=new.get(each.identity) is not each) for each in profiles]

    def _stored(self, cursor: duckdb.DuckDBPyConnection, profiles: Iterable[NewProfile]) -> dict[Identity, str]:
        """The ids of stored profiles with the content of any of these, by identity."""
        if self._seen is None:
            self._seen = {sha256 for (sha256,) in cursor.execute(QUERIES["hashes"]).fetchall()}
        hashes = {profile.row["sha256"] for profile in profiles}
        asked = sorted(hashes & self._seen)
        self._seen |= hashes
        found = cursor.execute(QUERIES["stored"], {"hashes": asked}).fetchall() if asked else ()
        return {tuple(identity): profile_id for profile_id, *identity in found}

    def _insert(self, cursor: duckdb.DuckDBPyConnection, profiles: Sequence[NewProfile], ids: Sequence[str]) -> None:
        [(last,)] = cursor.execute(QUERIES["last_profile"]).fetchall()
        numbers = range(last + 1, last + 1 + len(profiles))
        rows = [
            {**profile.row, "profile_no": number, "profile_id": profile_id}
            for profile, number, profile_id in zip(profiles, numbers, ids, strict=True)
        ]
        insert(cursor, "profile", rows)
        columns = [profile.columns for profile in profiles]
        stacks = self._dictionaries.save(cursor, columns, first=numbers[0], last=numbers[-1])
        together = list(zip(profiles, numbers, stacks, strict=True))
        append(cursor, "live_sample", pa.concat_tables(_sample_rows(*each) for each in together))
        append(cursor, "weight", pa.concat_tables(_weight_rows(*each) for each in together))


def _free_id(profile: NewProfile, taken: set[str]) -> str:
    """
    Kind and the first digits of the content hash, `cpu-5f2c81d09b3e4a77`.

    When another process sent the very same bytes, the hash covers the process too.
    """
    profile_id = f"{profile.row['kind']}-{profile.row['sha256'][:16]}"
    if profile_id not in taken:
        return profile_id
    digest = sha256("\0".join(profile.identity).encode()).hexdigest()
    return f"{profile.row['kind']}-{digest[:16]}"


def _sample_rows(profile: NewProfile, profile_no: int, stacks: pa.Array) -> pa.Table:
    samples = profile.columns.samples
    rows = samples.set_column(0, "stack_no", stacks.take(samples["stack"].combine_chunks()))
    return rows.add_column(0, "profile_no", pa.array(np.full(rows.num_rows, profile_no, np.int32)))


def _weight_rows(profile: NewProfile, profile_no: int, stacks: pa.Array) -> pa.Table:
    """Those of a value type in the order of the stacks: they are shorter that way."""
    weights = profile.columns.weights
    place, stack = weights["place"].to_numpy(), weights["stack"].to_numpy()
    stack_no = stacks.to_numpy()[stack]
    order = np.lexsort((stack_no, place))
    weight_no = WEIGHTS_OF_A_PROFILE * profile_no + place[order]
    values = weights["value"].to_numpy()[order] // np.array(profile.row["weight_units"])[place[order]]
    observations = weights["observations"].to_numpy()[order]
    return pa.table([weight_no, stack_no[order], values, observations], WEIGHTS)


def weight_units(weights: pa.Table, width: int) -> list[int]:
    """For each of *width* value types what all its values are multiples of: of a CPU profile the period."""
    places, values = weights["place"].to_numpy(), weights["value"].to_numpy()
    return [max(1, int(np.gcd.reduce(values[places == place]))) for place in range(width)]
