"""
Requests that are signed with a shared secret, as Grafana signs its webhooks: HMAC-SHA256 of the body, in hex.

With a timestamp header the signature is over `<unix seconds>:<body>`, and one that is older than MAX_AGE_S is refused,
so that a request somebody recorded cannot be sent again later.

Source: grafana/alerting http/hmac.go.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time

from flask import Request

from diagnose.config import Hmac
from diagnose.web.bodies import read_body

MAX_AGE_S = 300
_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")


def signed_by(request: Request, signers: list[Hmac], limit_bytes: int) -> Hmac | None:
    """
    Whose signature *request* carries, None when it is nobody's. The body is read for it, and kept for the view.

    Raises what `read_body` does.
    """
    return next((signer for signer in signers if _is_signed(request, signer, limit_bytes)), None)


def _is_signed(request: Request, signer: Hmac, limit_bytes: int) -> bool:
    signature = request.headers.get(signer.header, "")
    prefix = _prefix(request, signer)
    if not _SIGNATURE.fullmatch(signature) or prefix is None:
        return False
    expected = hmac.new((signer.secret or "").encode(), prefix, hashlib.sha256)
    expected.update(read_body(request, limit_bytes))
    return hmac.compare_digest(expected.hexdigest(), signature.lower())


def _prefix(request: Request, signer: Hmac) -> bytes | None:
    """What stands before the body in what is signed; None when the time is missing or too long ago."""
    if not signer.timestamp_header:
        return b""
    text = request.headers.get(signer.timestamp_header, "")
    if not re.fullmatch(r"\d{1,11}", text, re.ASCII) or abs(time.time() - int(text)) > MAX_AGE_S:
        return None
    return f"{text}:".encode()
