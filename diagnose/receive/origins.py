"""Resources and scopes of a request, and which of them each row has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnose.receive.arrays import Ints
from diagnose.receive.pairs import pairs_of
from diagnose.redact import Redactor
from diagnose.store.resources import Resource, resource_of


@dataclass(frozen=True)
class Origins:
    """The resources that rows have, and the position of each row's own among them."""

    resources: list[Resource]
    of_row: Ints

    @classmethod
    def of(cls, resources: pa.StructArray, of_row: Ints, redactor: Redactor) -> Origins:
        lists = pairs_of(resources.field("attributes"), redactor).dictionaries() if len(resources) else []
        used, positions = np.unique(of_row, return_inverse=True)
        return cls([resource_of(lists[number]) for number in used], positions)

    def columns(self) -> dict[str, pa.Array]:
        return {
            "resource_id": self._rows([each.resource_id for each in self.resources], pa.int64()),
            "service_name": self._rows([each.service_name for each in self.resources], pa.string()),
            "service_instance_id": self._rows([each.service_instance_id for each in self.resources], pa.string()),
        }

    def _rows(self, values: list[Any], kind: pa.DataType) -> pa.Array:
        """One value a resource → one a row."""
        return pa.array(values, kind).take(pa.array(self.of_row))


def scope_names(scopes: pa.StructArray, of_row: Ints) -> pa.Array:
    return pc.struct_field(scopes, "name").fill_null("").take(pa.array(of_row))
