"""
Who may ask what: the Host header, requests from other sites, credentials and roles; and the headers of every answer.

Without any credentials in the settings everybody who reaches the listener may do everything; the settings then allow a
loopback listener only, and the Host check keeps pages of other sites from reaching it under a name of their own.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, Response, current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from diagnose.config import Role, Settings
from diagnose.config.values import is_loopback, subject_parts
from diagnose.telemetry import get_logger
from diagnose.web.bodies import discard_rest
from diagnose.web.signatures import signed_by

log = get_logger(__name__)
View = TypeVar("View", bound=Callable[..., Any])
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# A report is a document with scripts of its own and names from outside: it runs apart from this site's origin.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'none'; sandbox allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"
)
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Identity:
    name: str
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        return role in self.roles or "admin" in self.roles


EVERYBODY = Identity("anybody", frozenset({"admin"}))


def needs(role: Role | None) -> Callable[[View], View]:
    """The role a view asks for; None: no credentials. A view without this asks for `admin`."""

    def mark(view: View) -> View:
        view.role = role  # type: ignore[attr-defined]
        return view

    return mark


class Guard:
    """Checks every request before its view runs."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = {host.lower() for host in settings.server.hosts}
        self._external = urlsplit(settings.server.external_url)
        self._hosts.add(self._external.hostname or "")
        self._tokens = [
            (_digest(token.token or ""), Identity(token.name, frozenset(token.roles))) for token in settings.auth.tokens
        ]
        self._users = [
            (_digest(f"{user.user}:{user.password}"), Identity(user.user, frozenset(user.roles)))
            for user in settings.auth.basic
        ]
        self._certified = [
            (subject_parts(each.subject), Identity(each.subject, frozenset(each.roles)))
            for each in settings.auth.certificates
        ]
        self._signers = settings.auth.hmac
        self._signed_bytes = settings.ingest.webhook_max_bytes

    def register(self, app: Flask) -> None:
        app.before_request(self.check)
        app.after_request(finish)

    def check(self) -> None:
        """Raises Forbidden (403) or Unauthorized (401)."""
        self._check_host(request)
        self._check_site(request)
        if request.endpoint:
            self._check_role(request, getattr(current_app.view_functions[request.endpoint], "role", "admin"))

    def allows(self, authorization: str, role: Role) -> bool | None:
        """For what is no HTTP request; None when the credentials are missing or wrong."""
        identity = self._identify(authorization)
        return identity.may(role) if identity else None

    def _check_host(self, asked: Request) -> None:
        host = _host_name(asked.headers.get("Host", ""))
        if not is_loopback(host) and host not in self._hosts:
            raise _refused(f"host {host!r} is not ours; add it to server.hosts if it should be")

    def _check_site(self, asked: Request) -> None:
        if asked.method in ("GET", "HEAD"):
            return
        origin = asked.headers.get("Origin")
        ours = {asked.headers.get("Host", ""), self._external.netloc}
        if asked.headers.get("Sec-Fetch-Site") == "cross-site" or (origin and urlsplit(origin).netloc not in ours):
            raise _refused("requests from other sites are refused")

    def _check_role(self, asked: Request, role: Role | None) -> None:
        if role is None:
            g.who = EVERYBODY.name
            return
        identity = (
            self._identify(asked.headers.get("Authorization", ""))
            or self._certified_of(asked)
            or self._signer_of(asked)
        )
        if identity is None:
            log.warning("credentials refused", path=asked.path, peer=asked.remote_addr)
            raise Unauthorized("credentials are missing or wrong", www_authenticate=self._challenges())
        if not identity.may(role):
            raise _refused(f"{identity.name} lacks the role {role}")
        g.who = identity.name

    def _identify(self, header: str) -> Identity | None:
        """Takes equally long for every wrong credential: all known ones are compared."""
        if not any((self._tokens, self._users, self._signers, self._certified)):
            return EVERYBODY
        scheme, _, credentials = header.partition(" ")
        found = None
        if scheme.lower() == "bearer":
            found = _matching(credentials.strip().encode(), self._tokens)
        elif scheme.lower() == "basic":
            try:
                found = _matching(b64decode(credentials, validate=True), self._users)
            except ValueError:
                return None
        return found

    def _certified_of(self, asked: Request) -> Identity | None:
        """By the subject of the certificate that the listener has verified (cheroot's names, as in mod_ssl)."""
        if asked.environ.get("SSL_CLIENT_VERIFY") != "SUCCESS":
            return None
        for subject, identity in self._certified:
            if all(asked.environ.get(f"SSL_CLIENT_S_DN_{name}") == value for name, value in subject.items()):
                return identity
        return None

    def _signer_of(self, asked: Request) -> Identity | None:
        signer = signed_by(asked, self._signers, self._signed_bytes)
        return Identity(signer.name, frozenset(signer.roles)) if signer else None

    def _challenges(self) -> list[WWWAuthenticate]:
        schemes = {"basic": self._users, "bearer": self._tokens}
        return [WWWAuthenticate(scheme, {"realm": "diagnose"}) for scheme, known in schemes.items() if known]


def finish(response: Response) -> Response:
    """The headers of every answer. What is left of the request's body goes, or the connection does."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not discard_rest(request):
        response.headers["Connection"] = "close"
    return response


def _refused(reason: str) -> Forbidden:
    log.warning("request refused", path=request.path, peer=request.remote_addr, reason=reason)
    return Forbidden(reason)


def _host_name(header: str) -> str:
    """Without the port and the dot at the end: `[::1]:9095` → `::1`, `LocalHost.:80` → `localhost`."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].rstrip(".").lower()


def _digest(text: str | bytes) -> bytes:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).digest()


def _matching(secret: bytes, known: list[tuple[bytes, Identity]]) -> Identity | None:
    digest = _digest(secret)
    found = None
    for each, identity in known:
        if hmac.compare_digest(digest, each):
            found = identity
    return found
