"""
Resources and scopes of a request, and which of them each row has.

A sender has the same resource in every request, so they are read once and remembered by their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage

from diagnose.receive.arrays import Ints
from diagnose.receive.otlp_values import AttributeReader
from diagnose.receive.wire import UnusualError
from diagnose.redact import Redactor
from diagnose.store.resources import Resource, resource_of

REMEMBERED = 4096
REMEMBERED_BYTES = 4096  # of one; larger ones are read each time


@dataclass(frozen=True)
class Origins:
    """The resources that rows have, and the position of each row's own among them."""

    resources: list[Resource]
    of_row: Ints

    @classmethod
    def of(cls, resources: pa.BinaryArray, of_row: Ints, redactor: Redactor) -> Origins:
        """*resources* are raw messages. Raises UnusualError when one is broken."""
        used, positions = np.unique(of_row, return_inverse=True)
        return cls([_resource(raw, redactor) for raw in resources.take(pa.array(used)).to_pylist()], positions)

    def columns(self) -> dict[str, pa.Array]:
        return {
            "resource_id": self._rows([each.resource_id for each in self.resources], pa.int64()),
            "service_name": self._rows([each.service_name for each in self.resources], pa.string()),
            "service_instance_id": self._rows([each.service_instance_id for each in self.resources], pa.string()),
        }

    def _rows(self, values: list[Any], kind: pa.DataType) -> pa.Array:
        """One value a resource → one a row."""
        return pa.array(values, kind).take(pa.array(self.of_row))


def _resource(raw: bytes, redactor: Redactor) -> Resource:
    return _known(raw, redactor) if len(raw) <= REMEMBERED_BYTES else _read(raw, redactor)


@lru_cache(maxsize=REMEMBERED)
def _known(raw: bytes, redactor: Redactor) -> Resource:
    return _read(raw, redactor)


def _read(raw: bytes, redactor: Redactor) -> Resource:
    try:
        message = ResourceMessage.FromString(raw)
    except ProtobufError as err:
        raise UnusualError(str(err)) from err
    return resource_of(AttributeReader(redactor).read(message.attributes))


def scope_names(scopes: pa.StructArray, of_row: Ints) -> pa.Array:
    return pc.struct_field(scopes, "name").fill_null("").take(pa.array(of_row))
