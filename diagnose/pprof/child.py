"""
A process that reads profiles, one after the other, with limits on its memory and time.

It says READY, then answers each message on standard input with one on standard output until its input ends. A message
is a number of parts, each with its length before it (`write_message`). The first part is JSON, the last of an answer
the most memory the process has had. What cannot be read is answered with `{"refused", "field"}`. What takes too much
time ends the process, and pool.py starts another.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import IO, Any

import pyarrow as pa

from diagnose.errors import DecodeError
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.columns import ProfileColumns
from diagnose.pprof.hashtable import HashTable
from diagnose.pprof.parse import Parsed, lay_out, parse
from diagnose.pprof.profile import ValueType
from diagnose.pprof.subtract import subtract
from diagnose.pprof.wall import combine

READY = {"ready": True}
MOST_TOLD = 1_000_000
TABLES = tuple(field.name for field in fields(ProfileColumns))
_NUMBER = struct.Struct(">Q")


def main() -> None:
    """Serve until standard input ends."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    limits = json.loads(sys.argv[1])
    _limit_once(limits["memory_bytes"])
    gc.freeze()  # modules stay, and the collector need not walk them
    write_message(answers, [json.dumps(READY).encode()])
    while (message := read_message(questions)) is not None:
        _limit_cpu(limits["cpu_s"])
        write_message(answers, [*_answer(message), b"%d" % _peak_rss_bytes()])


def _limit_once(memory_bytes: int) -> None:
    """*memory_bytes* on top of what the interpreter and its libraries have reserved by now."""
    pa.set_cpu_count(1)
    limits = {
        resource.RLIMIT_AS: _reserved_bytes() + memory_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))


def _reserved_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as pages:
            return int(pages.read().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        return 1 << 30


def _limit_cpu(cpu_s: int) -> None:
    """Counted from now; the kernel ends the process when it is over."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    most = int(usage.ru_utime + usage.ru_stime) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _answer(message: Sequence[bytes]) -> list[bytes | pa.Table]:
    asked = json.loads(message[0])
    try:
        return OPERATIONS[asked["operation"]](asked, message[1:])
    except DecodeError as err:
        return [json.dumps({"refused": str(err), "field": err.field}).encode()]
    except MemoryError:
        return [json.dumps({"out_of_memory": True}).encode()]
    except Exception as err:  # noqa: BLE001  whatever a file does to us, the next one is answered
        return [json.dumps({"refused": f"{type(err).__name__}: {err}", "field": "body"}).encode()]


class _Told:
    """The stacks that were spelled out in earlier answers."""

    stacks = HashTable()

    @classmethod
    def so_far(cls) -> HashTable:
        if len(cls.stacks) > MOST_TOLD:
            cls.stacks = HashTable()
        return cls.stacks


def _parse(asked: dict[str, Any], bodies: Sequence[bytes]) -> list[bytes | pa.Table]:
    told = None if asked["whole"] else _Told.so_far()
    return pack(parse(bodies[0], max_inflated_bytes=asked["max_inflated_bytes"], told=told))


def _subtract(asked: dict[str, Any], bodies: Sequence[bytes]) -> list[bytes | pa.Table]:
    after, before = (decode(body, max_inflated_bytes=asked["max_inflated_bytes"]) for body in bodies)
    growth = subtract(after, before)
    return [*pack(lay_out(growth)), encode(growth)]


def _combine(asked: dict[str, Any], bodies: Sequence[bytes]) -> list[bytes | pa.Table]:
    snapshots = [decode(body, max_inflated_bytes=asked["max_inflated_bytes"]) for body in bodies]
    wall = combine(list(zip(asked["taken_ns"], snapshots, strict=True)))
    return [*pack(lay_out(wall.profile), left_out=wall.left_out), encode(wall.profile)]


OPERATIONS = {"parse": _parse, "subtract": _subtract, "combine": _combine}


def pack(parsed: Parsed, **more: Any) -> list[bytes | pa.Table]:
    """JSON of all but the tables, then the tables; `write_message` writes them as Arrow streams."""
    head = {field.name: getattr(parsed, field.name) for field in fields(Parsed) if field.name != "columns"}
    head["value_types"] = [asdict(each) for each in parsed.value_types]
    return [json.dumps(head | more).encode(), *(getattr(parsed.columns, name) for name in TABLES)]


def unpack(parts: Sequence[bytes]) -> Parsed:
    """The opposite of `pack` and `write_message`, on the same memory."""
    head = json.loads(parts[0])
    tables = {name: pa.ipc.open_stream(part).read_all() for name, part in zip(TABLES, parts[1:], strict=False)}
    known = {field.name: head[field.name] for field in fields(Parsed) if field.name != "columns"}
    known["value_types"] = tuple(ValueType(**each) for each in head["value_types"])
    known["totals"] = tuple(head["totals"])
    return Parsed(columns=ProfileColumns(**tables), **known)


def write_message(stream: IO[bytes], parts: Sequence[bytes | pa.Table]) -> None:
    stream.write(_NUMBER.pack(len(parts)))
    for part in parts:
        if isinstance(part, bytes):
            stream.write(_NUMBER.pack(len(part)))
            stream.write(part)
        else:
            _write_table(stream, part)
    stream.flush()


def _write_table(stream: IO[bytes], table: pa.Table) -> None:
    """Counted first, then written straight from where it lies: a large profile has 100 MB."""
    counted = pa.MockOutputStream()
    for sink in (counted, stream):
        if sink is stream:
            stream.write(_NUMBER.pack(counted.size()))
        with pa.ipc.new_stream(sink, table.schema) as written:
            written.write_table(table)


def read_message(stream: IO[bytes]) -> list[bytes] | None:
    """None when the stream ends first."""
    count = _read_number(stream)
    if count is None:
        return None
    parts = []
    for _ in range(count):
        size = _read_number(stream)
        part = stream.read(size) if size is not None else b""
        if size is None or len(part) < size:
            return None
        parts.append(part)
    return parts


def _read_number(stream: IO[bytes]) -> int | None:
    data = stream.read(_NUMBER.size)
    return _NUMBER.unpack(data)[0] if len(data) == _NUMBER.size else None


if __name__ == "__main__":
    main()
    os._exit(0)  # nothing to clean up
