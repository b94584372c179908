"""
Any HTTP endpoint: the report is POSTed as JSON.

    POST <url>
    Content-Type: application/json
    X-Diagnose-Incident: inc-1q2w3e4r5t      together the idempotency key: the same pair
    X-Diagnose-Revision: 2                   is the same report, sent again after a failure

    {"incident_id", "revision", "reason", "status", "title", "summary", "url", "report": {…report.json…}}
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError

from diagnose import __version__, config
from diagnose.credentials import open_session, request_headers
from diagnose.errors import SinkError
from diagnose.model import utc_now
from diagnose.notify.message import Message

TIMEOUT_S = 10.0
MAX_QUOTED = 200  # characters of a refusal that are kept
PIECE = 8  # so many characters of a secret in a row give it away
LONGEST_WAIT_S = 3600.0  # a Retry-After beyond that is cut; the outbox asks again hourly anyway
RETRYABLE = frozenset({408, 421, 425, 429})  # and every 5xx; all other statuses are final


class WebhookSink:
    """No redirects, no proxy of the environment; secrets in files are read again for every delivery."""

    def __init__(self, settings: config.WebhookSink) -> None:
        self.name = settings.name
        self._settings = settings
        self._session = open_session(settings)

    def deliver(self, message: Message) -> None:
        """A 2xx is a delivery; see RETRYABLE for the others. Nothing of the answer identifies the message."""
        try:
            url, headers = self._url(), request_headers(self._settings)
        except OSError as err:  # a secret is being replaced just now, perhaps
            raise SinkError(f"cannot read a secret: {err.strerror or 'unreadable'}", retryable=True) from None
        except UnicodeError:
            raise SinkError("cannot read a secret: its file is not text", retryable=False) from None
        try:
            response = self._session.post(
                url,
                data=_body(message),
                headers={**headers, **_headers(message)},
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, UnicodeError) as err:
            _fail(err)
        with response:
            _check(response, list(_secrets(url, headers)))

    def _url(self) -> str:
        if self._settings.url is None and self._settings.url_file is not None:
            return self._settings.url_file.read_text(encoding="utf-8").strip()
        return self._settings.url or ""


def _headers(message: Message) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"diagnose/{__version__}",
        "X-Diagnose-Incident": message.incident_id,
        "X-Diagnose-Revision": str(message.revision),
    }


def _body(message: Message) -> bytes:
    """The report is put in as it was rendered."""
    head = {
        name: getattr(message, name)
        for name in ("incident_id", "revision", "reason", "status", "title", "summary", "url")
    }
    return (json.dumps(head)[:-1] + f', "report": {message.json.strip()}}}').encode()


def _fail(err: Exception) -> NoReturn:
    """The exceptions of requests quote the URL, which may hold a token: only the kind of failure is told."""
    if isinstance(err, ValueError):  # all of requests' complaints about what it was given
        raise SinkError("the URL or a header in the settings is not valid", retryable=False) from None
    if isinstance(err, requests.exceptions.SSLError):
        raise SinkError("the TLS connection failed: is the certificate trusted (tls_config)?", retryable=True) from None
    if isinstance(err, requests.Timeout):
        raise SinkError(f"no answer within {TIMEOUT_S:.0f} s", retryable=True) from None
    raise SinkError("cannot connect, or the connection was lost", retryable=True) from None


def _check(response: requests.Response, secrets: Sequence[str]) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise SinkError(
            f"HTTP {status}: redirects are not followed, put the final URL into the settings", retryable=False
        )
    retryable = status >= 500 or status in RETRYABLE
    raise SinkError(
        f"HTTP {status}{_quoted(response, secrets)}",
        retryable=retryable,
        retry_after_s=retry_after_s(response.headers.get("Retry-After"), utc_now()) if retryable else None,
    )


def _quoted(response: requests.Response, secrets: Sequence[str]) -> str:
    """`: ` and the first words of a refusal; nothing when there are none or they repeat what we sent in confidence."""
    try:
        start = response.raw.read1(4 * MAX_QUOTED, decode_content=False)  # one read, however endless the rest is
    except (OSError, HTTPError, ValueError):
        return ""
    text = " ".join(start.decode("utf-8", "replace").split())
    if not text or _repeats(text, secrets):
        return ""
    return f": {text[:MAX_QUOTED]}"


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """
    Seconds to wait out of a Retry-After header; None when it is missing or makes no sense. At most LONGEST_WAIT_S.

    RFC 9110 section 10.2.3: a number of seconds or an HTTP date.
    """
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = (parsedate_to_datetime(text).replace(tzinfo=UTC) - now).total_seconds()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def _repeats(text: str, secrets: Iterable[str]) -> bool:
    """Whether *text* holds a secret, or a piece of a long one: an answer may be cut in the middle of it."""
    for secret in secrets:
        pieces = range(max(1, len(secret) - PIECE + 1))
        if secret and any(secret[at : at + PIECE] in text for at in pieces):
            return True
    return False


def _secrets(url: str, headers: Mapping[str, str]) -> Iterable[str]:
    """Everything beyond the host in the URL, and the values of all headers we were told to send, decoded too."""
    parts = urlsplit(url)
    yield from (parts.username or "", parts.password or "", parts.query, unquote(parts.query))
    yield from (each for each in unquote(parts.path).split("/") if len(each) >= PIECE)
    for value in headers.values():
        scheme, _, credentials = value.partition(" ")
        yield credentials or scheme
        if scheme.lower() == "basic":
            yield base64.b64decode(credentials).decode("utf-8", "replace").partition(":")[2]
