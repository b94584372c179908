"""Request bodies: read up to a cap, inflated as they come, so that a gzip bomb ends at the cap and not in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress

from cheroot.errors import MaxSizeExceeded
from cramjam import DecompressionError, zstd
from flask import Request, g
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from diagnose.errors import DecodeError

STEP_BYTES = 262_144
DISCARDED_BYTES = 4 * 1024 * 1024  # read off and forgotten, so that the sender sees our answer and not a reset
GZIP = 16 + zlib.MAX_WBITS
DEADLINE = "diagnose.deadline"  # in the WSGI environment: seconds → context in which reading must come to its end
BODY_S = 120.0
DISCARD_S = 1.0


def read_body(request: Request, limit_bytes: int, *, as_sent: str = "") -> bytes:
    """
    The whole body, inflated when it says gzip or zstd. It is kept in `g.body` for rejected_requests.

    With the encoding *as_sent* it is not touched; whoever asks for that inflates it.

    Asked again, it is what it was: a signature is checked before the view reads.

    Raises RequestEntityTooLarge (413) above *limit_bytes*, sent or inflated; UnsupportedMediaType (415) for another
    encoding; DecodeError when the body ends early or is none of these.
    """
    if "body" in g:
        known: bytes = g.body
        if len(known) > limit_bytes:
            raise _too_large(limit_bytes)
        return known
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if encoding not in ("identity", "gzip", "zstd", as_sent):
        raise UnsupportedMediaType(f"Content-Encoding {encoding!r} is not supported; send gzip, zstd or none")
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    pieces = _received(request, limit_bytes)
    body = bytearray()
    with _within(request, BODY_S):
        for piece in _inflated(pieces) if encoding == "gzip" else pieces:
            body += piece
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
    whole = _unpacked(body, limit_bytes) if encoding == "zstd" else bytes(body)
    g.body = whole
    return whole


def _within(request: Request, seconds: float) -> AbstractContextManager[None]:
    """After that the socket is shut for reading, so that a client that drips keeps no thread."""
    within = request.environ.get(DEADLINE)
    return within(seconds) if within else nullcontext()


def _too_large(limit_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"the body is larger than {limit_bytes} bytes")


def _received(request: Request, limit_bytes: int) -> Iterator[bytes]:
    """Pieces as sent. Raises DecodeError when fewer come than were announced or the chunks are malformed."""
    count = 0
    try:
        while piece := request.stream.read(STEP_BYTES):
            count += len(piece)
            if count > limit_bytes:
                raise _too_large(limit_bytes)
            yield piece
    except (MaxSizeExceeded, ValueError) as err:
        g.body_broken = True
        raise DecodeError(f"the body is malformed: {err}") from err
    except OSError as err:
        g.body_broken = True
        if err.errno is None and not isinstance(err, TimeoutError):  # cheroot, about a chunk larger than its cap
            raise _too_large(limit_bytes) from err
        raise DecodeError(f"the body ended early: {err}") from err
    if request.content_length is not None and count < request.content_length:
        raise DecodeError(f"the body ended after {count} of {request.content_length} bytes")


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Never more than STEP_BYTES at once. Several gzip members in a row are one body, as RFC 1952 has it."""
    inflater = zlib.decompressobj(GZIP)
    for piece in pieces:
        waiting = piece
        while waiting:
            if inflater.eof:
                inflater = zlib.decompressobj(GZIP)
            try:
                yield inflater.decompress(waiting, STEP_BYTES)
            except zlib.error as err:
                raise DecodeError(f"the body is no gzip: {err}", field="Content-Encoding") from err
            waiting = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    while not inflater.eof:  # output that did not fit into the last step
        rest = inflater.decompress(b"", STEP_BYTES)
        if not rest and not inflater.eof:
            raise DecodeError("the body ended in the middle of the gzip data", field="Content-Encoding")
        yield rest


def _unpacked(packed: bytearray, limit_bytes: int) -> bytes:
    """zstd, into a buffer that grows up to the cap: what it will come to is not always said in it."""
    size = min(limit_bytes, max(STEP_BYTES, 8 * len(packed)))
    while True:
        buffer = bytearray(size)
        try:
            count = zstd.decompress_into(packed, buffer)
            return bytes(memoryview(buffer)[:count])
        except DecompressionError as err:
            if "whole buffer" not in str(err):
                raise DecodeError(f"the body is no zstd: {err}", field="Content-Encoding") from err
            if size == limit_bytes:
                raise _too_large(limit_bytes) from err
            size = min(limit_bytes, 8 * size)


def discard_rest(request: Request) -> bool:
    """
    Read off what an early answer left of the body; False when there is more than we care to read.

    Then the connection has to be closed: what is left would be taken for the next request.
    """
    if g.get("body_broken"):
        return False
    left = DISCARDED_BYTES
    with suppress(OSError, ValueError, MaxSizeExceeded), _within(request, DISCARD_S):
        while left > 0:
            piece = request.stream.read(min(STEP_BYTES, left))
            if not piece:
                return True
            left -= len(piece)
    return False
