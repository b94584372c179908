"""The file of a profile without the labels that must not be kept."""

from __future__ import annotations

import gzip

from diagnose.pprof.codec import MAX_INFLATED_BYTES, inflate
from diagnose.pprof.proto import profile_pb2 as pb
from diagnose.redact import MASK, Redactor


def redacted(body: bytes, redactor: Redactor) -> bytes:
    """
    *body*, gzipped, with the values of secret labels masked or the labels dropped.

    All else stays as it is: addresses, mappings, comments. A text that is such a value is masked wherever the file uses
    it. Raises DecodeError when it is too large.
    """
    message = pb.Profile()
    message.ParseFromString(inflate(body, max_inflated_bytes=MAX_INFLATED_BYTES))
    secrets: set[int] = set()
    for sample in message.sample:
        kept = []
        for label in sample.label:
            action = redactor.action(message.string_table[label.key].decode(errors="replace"))
            if action is not None:
                secrets.add(label.str)
            if action != "drop":
                kept.append(label)
        if len(kept) < len(sample.label):
            del sample.label[:]
            sample.label.extend(kept)
    for place in secrets - {0}:
        message.string_table[place] = MASK.encode()
    return gzip.compress(message.SerializeToString(), mtime=0)
