"""
Protobuf wire format → Arrow arrays, without a Python object per message.

ptars (Rust) reads by descriptor and lets go of the GIL meanwhile. Our descriptors are the official ones less what
nobody reads, and with resources and the kinds of AnyValue that hold further ones as their raw bytes: a third less time.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from ptars import HandlerPool
from pyarrow import RecordBatch

UNREAD = frozenset(
    {
        "dropped_attributes_count",
        "dropped_events_count",
        "dropped_links_count",
        "key_strindex",
        "string_value_strindex",
    }
)
RAW = frozenset({"array_value", "kvlist_value", "resource"})


class UnusualError(Exception):
    """This body is for the other decoder: it is broken, or of a shape that only protobuf itself reads right."""


class WireReader:
    """Reads bodies of one message type. Safe for several threads."""

    def __init__(self, message: Any) -> None:
        """*message*: a descriptor, whichever class it has."""
        pool = DescriptorPool()
        for file in _with_imports(message.file):
            pool.Add(_narrowed(file))
        narrow = pool.FindMessageTypeByName(message.full_name)
        self._handler = HandlerPool([narrow.file]).get_for_message(narrow)

    def read(self, body: bytes) -> RecordBatch:
        """One row, a column per field. Raises UnusualError."""
        try:
            return self._handler.list_to_record_batch([body])
        except ValueError as err:
            raise UnusualError(str(err)) from err
        except BaseException as err:
            if type(err).__name__ == "PanicException":  # what Rust raises is no Exception and would end the thread
                raise UnusualError(str(err)) from err
            raise


def _with_imports(file: FileDescriptor) -> list[FileDescriptor]:
    """What *file* imports, then *file*: each once, in an order in which they can be added to a pool."""
    found = {each.name: each for imported in file.dependencies for each in _with_imports(imported)}
    return [*found.values(), file]


def _narrowed(file: FileDescriptor) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _narrow(message)
    return proto


def _narrow(message: DescriptorProto) -> None:
    kept = [field for field in message.field if field.name not in UNREAD]
    for field in kept:
        if field.name in RAW:
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    del message.field[:]
    message.field.extend(kept)
    for nested in message.nested_type:
        _narrow(nested)
